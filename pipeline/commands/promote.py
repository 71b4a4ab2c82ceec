"""Makes the candidate's model the champion."""

import click

from pipeline.commands import waits


@click.command()
@click.option(
    "--force", is_flag=True, help="Promote whatever the verdict; the registry records that."
)
def command(*, force: bool) -> None:
    """Register the candidate's model as champion, if it is better.

    \b
    Example:
      python -m pipeline promote

    The comparison's verdict decides. Takes the candidate's run that is best on the validation set,
    and registers its model under the name of the experiment.
    """
    from pipeline.params_file import read_params

    params = read_params()
    waits.tell("looking for the candidate's best model in MLflow")
    from pipeline.serving.promote import run

    run(params, force=force)
