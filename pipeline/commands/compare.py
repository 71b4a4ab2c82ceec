"""The stage `compare`, and comparisons of named variants, experiments and runs."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.comparison.measures import MEASURES


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
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="PATH",
    help="Where to save the figure [default: in comparisons/].",
)
def command(  # noqa: PLR0913
    names: tuple[str, ...],
    since: str | None,
    measure: str | None,
    *,
    as_json: bool,
    as_markdown: bool,
    figure: Path | None,
) -> None:
    """Compare variants, runs, or any number of experiments.

    \b
    Examples:
      python -m pipeline compare
      python -m pipeline compare batch_norm no_norm
      python -m pipeline compare batch_norm no_norm --measure loss
      python -m pipeline compare HEAD~1:batch_norm momentum-0.9
      python -m pipeline compare main momentum-0.9 momentum-0.8
      python -m pipeline compare --since

    Without names, this is the stage, which writes reports/. With names, it prints what differs, by
    how much and how surely, and draws one figure. A and B are each a variant of params.yaml; a
    commit, branch, tag or DVC experiment; one variant of these (HEAD~1:batch_norm); or a run in
    MLflow, by its name or id.

    With --since or more than two names, each name is a DVC experiment or a commit. One table and
    one figure show all their variants, named by the parameters in which they differ, each compared
    with the baseline of its own experiment.
    """
    if as_json and as_markdown:
        raise click.UsageError("--json and --md exclude each other")
    if len(names) == 1 and since is None:
        raise click.UsageError("name two things to compare, or more, or none; got 1")
    is_stage = not names and since is None
    if is_stage and (measure or as_json or as_markdown or figure):
        raise click.UsageError("--measure, --json, --md and --figure need names, or --since")
    from pipeline.params_file import read_params

    params = read_params()
    if is_stage:
        from pipeline.reporting import compare as stage

        stage.run(params)
        return
    if measure:
        chosen = params.comparison.model_copy(update={"measure": measure})
        params = params.model_copy(update={"comparison": chosen})
    form = "json" if as_json else "md" if as_markdown else "text"
    from pipeline.commands import comparisons

    if since is None and len(names) == 2:
        comparisons.of_two(params, *names, form=form, figure=figure)
    else:
        comparisons.of_many(params, names, since, form, figure)
