from pathlib import Path

import pytest

from tests.mutants.__main__ import expected_to_live
from tests.mutants.made import Mutant

FIRST, SECOND, THIRD = (Mutant(Path("a.py"), 1, change, code="") for change in "123")
REASONS = {("a.py", "1"): "", ("a.py", "2"): "", ("b.py", "1"): "of another room"}


@pytest.mark.parametrize(
    ("made", "chosen", "lived", "expected", "told"),
    [
        ([FIRST, SECOND, THIRD], [FIRST, SECOND, THIRD], {"1", "2"}, {"1", "2"}, ""),
        ([FIRST, SECOND, THIRD], [FIRST, SECOND, THIRD], {"1"}, {"1", "2"}, "a.py 2"),
        ([FIRST, SECOND, THIRD], [FIRST, THIRD], {"1", "3"}, {"1"}, ""),
        ([FIRST, THIRD], [THIRD], {"3"}, {"2"}, "a.py 2"),
    ],
    ids=["all survive", "one is killed", "one is not in the sample", "one is no mutant any more"],
)
def test_reasons_are_looked_at_for_what_is_tested(made, chosen, lived, expected, told, capsys):
    given = {("a.py", change) for change in lived}
    found = expected_to_live(made, chosen, given, REASONS)
    assert found == {("a.py", change) for change in expected}
    assert capsys.readouterr().out.partition("\n")[0] == told
