import pytest

from pipeline.reporting.drawing import program


@pytest.mark.slow
def test_the_program_is_the_same_each_time_and_may_stand_in_a_page():
    text = program()
    assert program() == text
    assert "window.vegaEmbed" in text
    assert len(text.encode()) < 1_500_000
    # Either would end or hide what stands in a script element.
    assert "</script" not in text.lower()
    assert "<!--" not in text
