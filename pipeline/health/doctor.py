"""Finds what is wrong with this project, and mends what can be mended safely."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import partial

from pipeline.errors import PipelineError, one_line
from pipeline.health.findings import Finding, Note
from pipeline.params import Params

_Check = Callable[[], Iterable[Finding | Note]]


def run(options: Collection[str] = ()) -> bool:
    """Prints what is wrong, one line each, and what was mended; returns whether all is well.

    Args:
        options: "--fix" mends whatever can be mended, "--relocate" what a move broke. Without
            options nothing is changed.
    """
    checked, remarks = _examine()
    tried: set[str] = set()
    while due := [finding for finding in _mendable(remarks, options) if finding.what not in tried]:
        for finding in due:
            _mend(finding)
        tried |= {finding.what for finding in due}
        # One fault may hide another: a store must open before its content can be checked.
        checked, remarks = _examine()
    for remark in remarks:
        print(_line(remark))
    all_well = not any(isinstance(remark, Finding) for remark in remarks)
    if all_well:
        print(f"all is well: {', '.join(checked)}")
    return all_well


def _mendable(remarks: Iterable[Finding | Note], options: Collection[str]) -> list[Finding]:
    return [
        remark
        for remark in remarks
        if isinstance(remark, Finding) and remark.mend is not None and remark.option in options
    ]


def _mend(finding: Finding) -> None:
    try:
        aside = finding.mend() if finding.mend is not None else None
        print(f"mended: {finding.what}" + (f"; it is now {aside}" if aside else ""))
    except (PipelineError, OSError) as error:
        print(f"not mended: {finding.what}: {one_line(error)}")


def _line(remark: Finding | Note) -> str:
    if isinstance(remark, Note):
        return f"note: {remark.what}"
    return f"wrong: {remark.what}" + (f"; {remark.remedy}" if remark.remedy else "")


def _examine() -> tuple[list[str], list[Finding | Note]]:
    """Returns the checks that found nothing missing, and the findings and notes of all."""
    params, remarks = _read_params()
    checks: dict[str, _Check] = {
        "Python and packages": _environment,
        "DVC's files": _dvc,
        "runs": partial(_run_files, params),
        "MLflow's store": partial(_store, params),
    }
    if params:
        checks["mirrors"] = partial(_mirrors, params)
    well = ["params.yaml"]
    for name, check in checks.items():
        found = list(_results(name, check))
        # What is not there is not well, though nothing may be wrong with it.
        if not any(isinstance(remark, Note) and remark.is_gap for remark in found):
            well.append(name)
        # A damaged file may stop more than one check.
        remarks += [remark for remark in found if remark not in remarks]
    return well, remarks


def _read_params() -> tuple[Params | None, list[Finding | Note]]:
    try:
        from pipeline.params_file import read_params

        return read_params(), []
    except (PipelineError, ImportError) as error:
        return None, [Finding(str(error))]


def _results(name: str, check: _Check) -> Iterator[Finding | Note]:
    """Yields what a check finds; a check that fails is a finding itself."""
    try:
        yield from check()
    except PipelineError as error:
        yield Finding(str(error))
    except (OSError, ImportError) as error:
        yield Finding(f"{name} cannot be checked: {one_line(error)}")


def _environment() -> Iterator[Finding | Note]:
    from pipeline.health import environment

    return environment.findings()


def _dvc() -> Iterator[Finding]:
    from pipeline.health import dvc_state

    return dvc_state.findings(at_work=dvc_state.is_at_work())


def _run_files(params: Params | None) -> Iterator[Finding | Note]:
    from pipeline.health import run_files

    return run_files.findings(params.variants) if params else iter(())


def _mirrors(params: Params) -> Iterator[Finding | Note]:
    from pipeline.datasets.catalogue import OWN_FILE
    from pipeline.health import download_mirrors

    name = params.data.dataset
    return iter(()) if name == OWN_FILE else download_mirrors.findings(name)


def _store(params: Params | None) -> Iterator[Finding | Note]:
    from pipeline.health import store
    from pipeline.runs.tables import RUNS

    faults = list(store.findings())
    yield from faults
    # Importing MLflow takes three seconds, which a project without runs and store is spared.
    if not faults and (store.is_made() or any(RUNS.glob("*/manifest.json"))):
        yield from _runs(params)


def _runs(params: Params | None) -> Iterator[Finding | Note]:
    from pipeline.health import artifacts, places, store, tracked_runs
    from pipeline.runs.manifest import trained_variants

    database = store.database()
    moves = []
    if database and store.is_made():
        moves = list(places.findings(database))
        yield from moves
    moved = any(isinstance(move, Finding) for move in moves)
    experiment = tracked_runs.TrackedExperiment(
        params.tracking.experiment if params else None,
        tracked_runs.files_by_fingerprint(params.variants if params else trained_variants()),
    )
    if deleted := list(experiment.deleted()):
        yield from deleted
        return
    yield from experiment.abandoned()
    yield from experiment.doubles()
    # A moved store would put new artifacts in the old place, and miss those that are here.
    if params and not moved:
        yield from _missing(params, experiment.missing())
        yield from artifacts.findings(experiment, params.data.dataset)


def _missing(params: Params, missing: Mapping[str, int]) -> Iterator[Finding | Note]:
    """Yields the runs that are on disk but not in MLflow."""
    from pipeline.health.dvc_state import is_at_work

    if not missing:
        return
    counts = ", ".join(f"{number} of {variant}" for variant, number in missing.items())
    what = f"MLflow lacks runs that are in runs/, or parts of them: {counts}"
    if is_at_work():
        yield Note(f"{what}. DVC is at work here and may be about to add them")
    else:
        from pipeline.tracking import track

        remedy = "--fix adds them, or names the file that `dvc repro` has to make first"
        yield Finding(what, remedy, lambda: track.run(params))
