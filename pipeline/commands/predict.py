"""Predicts the classes of pictures and of the rows of tables."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

import click

from pipeline.commands import waits
from pipeline.commands.lean_tensorflow import lean_tensorflow
from pipeline.errors import DataError


@click.command()
@click.argument(
    "paths",
    metavar="FILE...",
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
    help="How many examples to take from an IDX file, a table or an .npz.",
)
@click.option("--show", is_flag=True, help="Draw each image as the models see it.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(  # noqa: PLR0913  They are its options.
    paths: tuple[Path, ...],
    seed: int | None,
    first: int,
    *,
    registered: bool,
    show: bool,
    as_json: bool,
) -> None:
    """Say which class each FILE shows, and with what confidence.

    \b
    Examples:
      python -m pipeline predict seven.png three.jpg --show
      python -m pipeline predict data/raw/t10k-images-idx3-ubyte --first 20
      python -m pipeline predict seven.png --registered
      python -m pipeline predict patients.csv

    Uses the models of all variants, side by side, or the registered model. FILE is what they were
    trained on. For images it is a picture of any size, or an IDX file of many images. A picture is
    scaled; one of a digit, dark on light or light on dark, is prepared as MNIST's were: cut out,
    scaled and centred. For a table it is a .csv or .parquet file with the same columns, in any
    order. For either it may be an .npz with the examples as its array x, or else x_test.

    Images that are unlike those trained on are named, for the models answer them too. Files that
    are of no use are named at the end, with exit code 65.
    """
    if show and as_json:
        raise click.UsageError("--show and --json exclude each other")
    if registered and seed is not None:
        raise click.UsageError("--registered and --seed exclude each other")
    from pipeline.examples.prepared import PREPARED_FILE, read_prepared
    from pipeline.params_file import read_params
    from pipeline.serving.given import read_all
    from pipeline.tracking.trained_on import TrainedOn, read_trained_on

    params = read_params()
    with ExitStack() as stack:
        champion = None
        if registered:
            # MLflow takes three seconds to import.
            waits.tell("fetching the champion from MLflow")
            from pipeline.tracking.registry import Registry

            registry = Registry(params.tracking.experiment)
            champion = stack.enter_context(registry.champion_folder())
            data = read_trained_on(*champion)
            dataset = None if data.features or not PREPARED_FILE.exists() else read_prepared()
        else:
            dataset = read_prepared()
            data = TrainedOn.of(params.data.dataset, dataset)
        given, refused = read_all(paths, first, data)
        if not given:
            _end(refused)
        with lean_tensorflow():
            from pipeline.serving import predict
        if champion:
            predictors = [predict.champion_predictor(*champion)]
        else:
            predictors = predict.predictors_of_runs(params, seed or 0)
    predict.run(predictors, data, given, dataset, show=show, as_json=as_json)
    if refused:
        _end(refused)


def _end(refused: Sequence[DataError]) -> NoReturn:
    for error in refused[:-1]:
        click.echo(f"error: {error}", err=True)
    raise refused[-1]
