"""Makes the candidate's model the champion."""

import click


@click.command()
@click.option("--force", is_flag=True, help="Whatever the verdict; the registry records that.")
def command(*, force: bool) -> None:
    """Register the candidate's model as champion, if it is better.

    \b
    Example:
      python -m pipeline promote

    Better by the comparison's verdict. The model's name is that of the experiment; of the
    candidate's runs, the best on the validation set is taken.
    """
    from pipeline.params_file import read_params

    params = read_params()
    from pipeline.serving.promote import run

    run(params, force=force)
