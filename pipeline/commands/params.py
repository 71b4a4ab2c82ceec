"""Shows what params.yaml means."""

import click

# How many experiments, as examples: p is adjusted over all of them.
_GRIDS = (4, 16)


@click.command()
def command() -> None:
    """Check params.yaml and print what each variant trains with.

    \b
    Example:
      python -m pipeline params
    """
    from pipeline.comparison.looks import looks_of
    from pipeline.comparison.verdict import fewest_together, too_few_in_words
    from pipeline.params import flat
    from pipeline.params_file import read_params

    params = read_params()
    for name, variant in params.variants.items():
        click.echo(f"{name} ({variant.label})")
        for key, value in flat(variant.parameters | {"seeds": variant.training.seeds}):
            click.echo(f"  {key}: {value}")
    confidence, looks = params.comparison.confidence, looks_of(params.comparison)
    if few := too_few_in_words(params.training.seeds, confidence, 1, looks):
        click.echo(few)
    others = len(params.variants) - 1
    alone, small, large = (
        fewest_together(confidence, comparisons, looks)
        for comparisons in (1, *(experiments * others for experiments in _GRIDS))
    )
    click.echo(
        f"A verdict takes at least {alone} seeds, {small} in a grid of {_GRIDS[0]} experiments and "
        f"{large} in one of {_GRIDS[1]}."
    )
