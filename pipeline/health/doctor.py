"""What is wrong with this project, and mending what can safely be mended."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial

from pipeline.errors import PipelineError, one_line
from pipeline.health.findings import Finding, Note
from pipeline.params import Params

_Check = Callable[[], Iterable[Finding | Note]]


def run(options: Collection[str] = ()) -> bool:
    """Prints what is wrong, a line each, and what was mended; returns whether all is well.

    Args:
        options: "--fix" mends what can be, "--relocate" what a move made wrong; none of them
            changes nothing.
    """
    looked, said = _examine()
    tried: set[str] = set()
    while due := [finding for finding in _mendable(said, options) if finding.what not in tried]:
        for finding in due:
            _mend(finding)
        tried |= {finding.what for finding in due}
        # One fault may hide another: what is in a store is seen once it can be opened.
        looked, said = _examine()
    wrong = [each for each in said if isinstance(each, Finding)]
    for each in said:
        print(_line(each))
    if not wrong:
        print(f"all is well: {', '.join(looked)}")
    return not wrong


def _mendable(said: Iterable[Finding | Note], options: Collection[str]) -> list[Finding]:
    return [
        each
        for each in said
        if isinstance(each, Finding) and each.mend is not None and each.option in options
    ]


def _mend(finding: Finding) -> None:
    try:
        if finding.mend is not None:
            finding.mend()
        print(f"mended: {finding.what}")
    except (PipelineError, OSError) as error:
        print(f"not mended: {finding.what}: {one_line(error)}")


def _line(said: Finding | Note) -> str:
    if isinstance(said, Note):
        return f"note: {said.what}"
    return f"wrong: {said.what}" + (f"; {said.remedy}" if said.remedy else "")


def _examine() -> tuple[list[str], list[Finding | Note]]:
    """Returns the names of what was looked at, and all that there is to say of it."""
    params, said = _read_params()
    checks: dict[str, _Check] = {
        "Python and packages": _environment,
        "DVC's files": _dvc,
        "MLflow's store": partial(_store, params),
    }
    if params:
        checks["mirrors"] = partial(_mirrors, params)
    for name, check in checks.items():
        said += _told(name, check)
    return ["params.yaml", *checks], said


def _read_params() -> tuple[Params | None, list[Finding | Note]]:
    try:
        from pipeline.params_file import read_params

        return read_params(), []
    except (PipelineError, ImportError) as error:
        return None, [Finding(str(error))]


def _told(name: str, check: _Check) -> Iterator[Finding | Note]:
    """Yields what a check says; that it cannot look is something to say as well."""
    try:
        yield from check()
    except PipelineError as error:
        yield Finding(str(error))
    except (OSError, ImportError) as error:
        yield Finding(f"{name} cannot be looked at: {one_line(error)}")


def _environment() -> Iterator[Finding]:
    from pipeline.health import environment

    return environment.findings()


def _dvc() -> Iterator[Finding]:
    from pipeline.health import dvc_state

    return dvc_state.findings(at_work=dvc_state.is_at_work())


def _mirrors(params: Params) -> Iterator[Finding | Note]:
    from pipeline.health import download_mirrors

    return download_mirrors.findings(params.data.dataset)


def _store(params: Params | None) -> Iterator[Finding | Note]:
    from pipeline.health import store
    from pipeline.runs.tables import RUNS

    faults = list(store.findings())
    yield from faults
    # Without runs, here or there, MLflow's three seconds can be saved.
    if not faults and (store.is_made() or any(RUNS.glob("*/manifest.json"))):
        yield from _runs(params)


def _runs(params: Params | None) -> Iterator[Finding | Note]:
    from pipeline.health import places, store, tracked_runs
    from pipeline.runs.manifest import trained_variants

    database = store.database()
    moves = []
    if database and store.is_made():
        moves = list(places.findings(database))
        yield from moves
    moved = any(isinstance(each, Finding) for each in moves)
    held = tracked_runs.Mirrored(
        params.tracking.experiment if params else None,
        tracked_runs.files_by_fingerprint(params.variants if params else trained_variants()),
    )
    yield from held.abandoned()
    # What is added to a moved store would go to its old place, and what is not found may be here.
    if params and not moved:
        yield from _missing(params, held.missing())
        yield from held.lost_models()


def _missing(params: Params, missing: Mapping[str, int]) -> Iterator[Finding | Note]:
    """Yields the runs that are here and not in MLflow."""
    from pipeline.health.dvc_state import is_at_work

    if not missing:
        return
    told = ", ".join(f"{number} of {variant}" for variant, number in missing.items())
    what = f"MLflow lacks runs that are in runs/, or has them in part: {told}"
    if is_at_work():
        yield Note(f"{what}. DVC is at work here and may be about to add them")
    else:
        from pipeline.tracking import track

        remedy = "--fix adds them, or says which of their files `dvc repro` still has to make"
        yield Finding(what, remedy, lambda: track.run(params))
