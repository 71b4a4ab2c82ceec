import pytest

from pipeline.errors import one_line, without_passwords


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://anna:hunter2@host:5000/api", "http://host:5000/api"),
        (
            "no answer from 'https://hunter2@host/x', twice",
            "no answer from 'https://host/x', twice",
        ),
        ("postgresql+psycopg2://anna:hun@ter/2@host/db", "postgresql+psycopg2://host/db"),
        ("http://a:hunter2@one and ftp://b:hunter2@two", "http://one and ftp://two"),
        ("sqlite:////home/anna@work/mlflow.db", "sqlite:////home/anna@work/mlflow.db"),
        ("file:///home/anna@work/mlartifacts", "file:///home/anna@work/mlartifacts"),
        ("models:/digits@champion", "models:/digits@champion"),
    ],
)
def test_a_login_is_left_out_of_urls_and_of_nothing_else(text, shown):
    assert without_passwords(text) == shown
    assert one_line(text) == shown


def test_many_lines_become_one():
    assert one_line("database is locked\n  [SQL: SELECT 1]\r\n") == (
        "database is locked [SQL: SELECT 1]"
    )


def test_control_characters_become_question_marks():
    assert one_line("red: \x1b[31m, title: \x1b]0;x\x07") == "red: ?[31m, title: ?]0;x?"


def test_the_middle_of_a_long_text_is_left_out():
    told = one_line("what failed" + 500 * "." + "the cause", longest=40)

    assert told.startswith("what failed...")
    assert told.endswith("...the cause")
    assert len(told) <= 40


def test_a_password_in_the_middle_of_a_long_text_is_left_out_first():
    told = one_line("x" * 85 + " http://anna:hunter2" + "2" * 100 + "@host/" + "y" * 300)

    assert "anna" not in told
    assert "22" not in told
