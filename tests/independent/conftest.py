"""Writes what came out of the comparisons, for `make independent`."""

from tests.independent.comparison import Comparison, Sample, page

_TELLING = ("independent/test_studies.py", "independent/test_examples.py")


def pytest_terminal_summary(terminalreporter, config):
    path = config.getoption("--page")
    reports = [
        report
        for outcome in ("passed", "failed", "skipped")
        for report in terminalreporter.stats.get(outcome, [])
        if report.nodeid.partition("::")[0].endswith(_TELLING)
    ]
    if path is None or not reports:
        return
    broken = [report for report in reports if report.failed and not report.user_properties]
    if broken:
        # A page without them would say less than the last one.
        terminalreporter.write_line(f"{path} is left as it was: {len(broken)} came to no result")
        return
    told = [
        Comparison(**one | {side: Sample(**one[side]) for side in ("project", "independent")})
        for report in reports
        for name, one in report.user_properties
        if name == "told"
    ]
    skipped = [
        str(report.longrepr[-1]).removeprefix("Skipped: ") for report in reports if report.skipped
    ]
    path.write_text(page(told, skipped), encoding="utf-8")
    terminalreporter.write_line(f"written: {path}")
