"""The page of the drills."""

from tests.faults.page import Drill, page


def drill(area, name, outcome="passed"):
    one = Drill(area, "", name, f"{name} holds")
    one.add(outcome, 0.5, "", [])
    return one


def test_each_area_has_a_section_with_its_promises():
    written = page([drill("B", "test_b"), drill("A", "test_a", "failed"), drill("A", "test_c")])

    head, of_a, of_b = written.split("\n## ")
    assert head.startswith("# Reliability\n")
    assert [line.split("|")[1:3] for line in of_a.splitlines() if "holds" in line] == [
        [" test_a holds ", " BROKEN "],
        [" test_c holds ", " kept   "],
    ]
    assert "test_b holds" in of_b


def test_sections_of_which_nothing_ran_stay_unless_their_drills_are_gone():
    before = page([drill("A", "test_a"), drill("B", "test_b"), drill("C", "test_c")])

    after = page([drill("B", "test_new")], before, ["B", "A"])

    assert after == page([drill("A", "test_a"), drill("B", "test_new")])
    assert page([], before, ["A", "B", "C"]) == before
