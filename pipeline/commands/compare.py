"""The stage `compare`, and comparisons of named variants, experiments and runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import waits
from pipeline.comparison.measures import MEASURES

if TYPE_CHECKING:
    from pipeline.commands.comparisons import Form

_DEFAULT_CONFIDENCE = 0.95


class _At(click.ParamType):
    """`last`, `best`, `mean`, or a step."""

    name = "value"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if value not in {"last", "best", "mean"} and not re.fullmatch(r"-?\d+", value):
            self.fail(f"{value!r} is neither last, best or mean, nor a step", param, ctx)
        return value


class _Png(click.Path):
    """A file that a figure can be written to."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if Path(value).suffix.lower() != ".png":
            self.fail(f"{value!r} does not end in .png, and figures are PNG", param, ctx)
        return super().convert(value, param, ctx)


_OF_A_STORE = (
    click.option(
        "--runs",
        metavar="STORE",
        help="Compare the runs of an MLflow store: a folder (mlruns), a database (mlflow.db, "
        "sqlite:///…, postgresql://…) or a server (http://…). "
        "Without --log, nothing there is changed.",
    ),
    click.option(
        "--experiment",
        "experiments",
        multiple=True,
        metavar="NAME|ID",
        help="Only this experiment; can be repeated [default: all].",
    ),
    click.option("--where", metavar="FILTER", help="Only runs that match MLflow's filter."),
    click.option("--metric", metavar="NAME", help="What is compared."),
    click.option(
        "--at",
        type=_At(),
        metavar="last|best|mean|STEP",
        help="Which of its values counts [default: last].",
    ),
    click.option(
        "--by",
        multiple=True,
        metavar="NAME",
        help="What sets apart what is compared: a parameter, a tag, run_name or experiment; can "
        "be repeated [default: the parameters that differ].",
    ),
    click.option(
        "--pair-by",
        multiple=True,
        metavar="NAME",
        help="What the runs of a pair share: a seed, fold or data set, as in --by; can be "
        "repeated [default: what all settings share].",
    ),
    click.option("--against", metavar="VALUE", help="Compare all others with this value of --by."),
    click.option(
        "--smaller-is-better/--larger-is-better",
        default=None,
        help="Which way the metric improves [default: by its name].",
    ),
    click.option(
        "--confidence",
        type=click.FloatRange(0, 1, min_open=True, max_open=True),
        help=f"Of every interval [default: {_DEFAULT_CONFIDENCE}].",
    ),
    click.option(
        "--html",
        type=click.Path(dir_okay=False, path_type=Path),
        metavar="PATH",
        help="Write a page that opens offline, with table and figure.",
    ),
    click.option(
        "--log",
        is_flag=True,
        default=None,
        help="Add the comparison to the experiment, as a run with the report as its description.",
    ),
)


def _of_a_store(command: Callable[..., None]) -> Callable[..., None]:
    return reduce(lambda wrapped, option: option(wrapped), reversed(_OF_A_STORE), command)


@click.command()
@click.argument("names", nargs=-1, metavar="[A B]...")
@click.option(
    "--since",
    is_flag=False,
    flag_value="HEAD",
    metavar="[REV]",
    help="Add all DVC experiments made from this commit or a later one [HEAD].",
)
@click.option(
    "--measure",
    type=click.Choice(list(MEASURES)),
    help="The score that decides [default: that of params.yaml].",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--md", "as_markdown", is_flag=True, help="Print Markdown.")
@click.option(
    "--figure",
    type=_Png(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Where to save the figure [default: in comparisons/].",
)
@_of_a_store
def command(  # noqa: PLR0913
    names: tuple[str, ...],
    since: str | None,
    measure: str | None,
    *,
    as_json: bool,
    as_markdown: bool,
    figure: Path | None,
    runs: str | None,
    **of_a_store: Any,
) -> None:
    """Compare variants, runs, any number of experiments, or the runs of any MLflow store.

    \b
    Examples:
      python -m pipeline compare
      python -m pipeline compare batch_norm no_norm
      python -m pipeline compare batch_norm no_norm --measure loss
      python -m pipeline compare HEAD~1:batch_norm momentum-0.9
      python -m pipeline compare main momentum-0.9 momentum-0.8
      python -m pipeline compare --since
      python -m pipeline compare --runs mlruns
      python -m pipeline compare --runs mlflow.db --experiment sweep --by optimizer --pair-by seed

    Without names, this is the stage, which writes reports/. With names, it prints what differs, by
    how much and how surely, and draws one figure. A and B are each a variant of params.yaml; a
    commit, branch, tag or DVC experiment; one variant of these (HEAD~1:batch_norm); or a run in
    MLflow, by its name or id.

    With --since or more than two names, each name is a DVC experiment or a commit. One table and
    one figure show all their variants, named by the parameters in which they differ, each compared
    with the baseline of its own experiment.

    With --runs, it compares whatever is in an MLflow store, and needs no project. It says how it
    understood the runs, and which option would tell it otherwise.
    """
    if as_json and as_markdown:
        raise click.UsageError("--json and --md exclude each other")
    form: Form = "json" if as_json else "md" if as_markdown else "text"
    if runs is not None:
        if names or since is not None or measure:
            raise click.UsageError("--runs excludes names, --since and --measure")
        _compare_stored(runs, form=form, figure=figure, **of_a_store)
        return
    if stray := _given(of_a_store):
        raise click.UsageError(f"{', '.join(stray)} can be used with --runs only")
    if len(names) == 1 and since is None:
        raise click.UsageError("name two things to compare, or more, or none; got 1")
    is_stage = not names and since is None
    if is_stage and (measure or as_json or as_markdown or figure):
        raise click.UsageError("--measure, --json, --md and --figure need names, or --since")
    from pipeline.params_file import read_params

    params = read_params()
    waits.tell("comparing, and drawing what comes out")
    if is_stage:
        from pipeline.reporting import compare as stage

        stage.run(params)
        return
    if measure:
        chosen = params.comparison.model_copy(update={"measure": measure})
        params = params.model_copy(update={"comparison": chosen})
    from pipeline.commands import comparisons

    if since is None and len(names) == 2:
        comparisons.of_two(params, *names, form=form, figure=figure)
    else:
        comparisons.of_many(params, names, since, form, figure)


def _compare_stored(  # noqa: PLR0913
    runs: str,
    *,
    confidence: float | None,
    log: bool | None,
    experiments: Sequence[str],
    where: str | None,
    form: Form,
    figure: Path | None,
    html: Path | None,
    **asked: Any,
) -> None:
    waits.tell("reading the runs of the store")
    from pipeline.commands import stored_comparison
    from pipeline.designs.asked import Asked

    stored_comparison.run(
        runs,
        Asked(**asked),
        experiments=experiments,
        where=where,
        confidence=confidence or _DEFAULT_CONFIDENCE,
        form=form,
        figure=figure,
        html=html,
        log=bool(log),
    )


def _given(options: Mapping[str, Any]) -> list[str]:
    """Returns the options that were given, as they are typed."""
    ctx = click.get_current_context()
    return [
        "/".join([*param.opts, *param.secondary_opts])
        for param in ctx.command.params
        if param.name in options and options[param.name] not in (None, ())
    ]
