"""Runs a study, which puts a claim to the test."""

from __future__ import annotations

import click

from pipeline.commands.lean_tensorflow import lean_tensorflow


@click.command()
@click.argument("name")
@click.option("--quick", is_flag=True, help="Take a minute or so; the result is not to be trusted.")
@click.option("--workers", type=click.IntRange(min=1), envvar="BNLAB_WORKERS", help="As for train.")
@click.option("--engine", type=click.Choice(["threads", "ray"]), help="As for train.")
def command(name: str, workers: int | None, engine: str | None, *, quick: bool) -> None:
    """Put a claim to the test: the study in studies/NAME.

    \b
    Example:
      python -m pipeline study notebook --quick
    """
    with lean_tensorflow():
        from pipeline.studies.study_file import read_study
    # It judges and draws as well, which takes what is hidden above.
    from pipeline.execution.study import run
    from pipeline.studies.judgement import too_few_seeds

    study = read_study(name, quick=quick)
    if not quick and (few := too_few_seeds(study)):
        click.echo(f"{name}: {few}", err=True)
    click.echo(run(study, workers, engine))
