"""Predicts the digits in pictures."""

from __future__ import annotations

from pathlib import Path

import click

from pipeline.commands.lean_tensorflow import lean_tensorflow


@click.command()
@click.argument(
    "images",
    metavar="IMAGE...",
    nargs=-1,
    required=True,
    # An unreadable file gets the same kind of message as any other bad file.
    type=click.Path(path_type=Path, readable=False),
)
@click.option("--seed", type=click.IntRange(min=0), help="Which seed of each variant [default: 0].")
@click.option("--registered", is_flag=True, help="Use the champion in MLflow's registry only.")
@click.option(
    "--first",
    default=10,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many images to take from an IDX file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    images: tuple[Path, ...], seed: int | None, first: int, *, registered: bool, as_json: bool
) -> None:
    """Say which digit each IMAGE shows, and with what confidence.

    \b
    Examples:
      python -m pipeline predict seven.png three.jpg
      python -m pipeline predict data/raw/t10k-images-idx3-ubyte --first 20
      python -m pipeline predict seven.png --registered

    Uses the models of all variants, side by side, or the registered model. IMAGE is a picture of
    one digit, of any size, dark on light or light on dark, or an IDX file of many images. A picture
    is prepared as MNIST's were: the digit is cut out, scaled and centred. All files are read before
    anything is printed.
    """
    if registered and seed is not None:
        raise click.UsageError("--registered and --seed exclude each other")
    from pipeline.params_file import read_params
    from pipeline.serving.given_images import read_images

    params = read_params()
    given = [read_images(path, first) for path in images]
    with lean_tensorflow():
        from pipeline.serving import predict
    if registered:
        predictors = [predict.champion_predictor(params)]
    else:
        predictors = predict.predictors_of_runs(params, seed or 0)
    predict.run(predictors, given, as_json=as_json)
