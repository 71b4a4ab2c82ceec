"""Shows what params.yaml means."""

import click


@click.command()
def command() -> None:
    """Check params.yaml and print what each variant trains with.

    \b
    Example:
      python -m pipeline params
    """
    from pipeline.params import flat
    from pipeline.params_file import read_params

    for name, variant in read_params().variants.items():
        click.echo(f"{name} ({variant.label})")
        for key, value in flat(variant.parameters | {"seeds": variant.training.seeds}):
            click.echo(f"  {key}: {value}")
