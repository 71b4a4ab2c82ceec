"""Measures the engine in a process of its own, so that memory is the engine's alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from typing import Any

from benchmarks import floor
from benchmarks.protocol import PeerError, peak_memory

_PIXELS, _CLASSES = 784, 10


@dataclass(frozen=True)
class Point:
    """Where to measure.

    Attributes:
        hidden_dims: widths of the hidden layers.
        batch_size: examples in a step.
        examples: how many to train on.
        seeds: how many networks to train for an epoch.
        workers: how many threads train them.
    """

    hidden_dims: tuple[int, ...] = (32, 32)
    batch_size: int = 32
    examples: int = 55_000
    seeds: int = 1
    workers: int = 1

    @property
    def widths(self) -> tuple[int, ...]:
        """Of all layers, from the pixels to the classes."""
        return (_PIXELS, *self.hidden_dims, _CLASSES)

    @property
    def steps(self) -> int:
        """In an epoch."""
        return self.examples // self.batch_size


def growth(point: Point) -> dict[str, Any]:
    """Returns the seconds of one epoch of all seeds, trained and scored, and of a first one.

    Also the peak memory, in bytes. The first epoch includes compilation.
    """
    return _in_a_process("growth", point)


def beside_floor(point: Point) -> dict[str, Any]:
    """Returns the seconds of training epochs and of their floor, measured in turn on one core."""
    return _in_a_process("beside_floor", point)


def _in_a_process(kind: str, point: Point) -> dict[str, Any]:
    one_thread = {"OPENBLAS_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.probe", kind, json.dumps(asdict(point))],
        env=os.environ | one_thread | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        raise PeerError(f"{kind} at {point} failed:\n{ended.stderr[-4000:]}")
    return json.loads(ended.stdout)


def _growth(point: Point) -> dict[str, Any]:
    from benchmarks.engine import Engine

    variant, dataset = _inputs(point)
    engine = Engine(dataset, point.workers)
    started = time.perf_counter()
    engine.train(variant, range(point.workers))
    first = time.perf_counter() - started
    started = time.perf_counter()
    engine.train(variant, range(point.seeds))
    seconds = time.perf_counter() - started
    return {"first_seconds": first, "seconds": seconds, "peak_memory": peak_memory()}


def _beside_floor(point: Point) -> dict[str, Any]:
    import tensorflow as tf

    from benchmarks.engine import train_seconds

    # Training in threads allows one for each processor.
    tf.config.threading.set_intra_op_parallelism_threads(1)
    epochs = train_seconds(*_inputs(point))
    products = floor.products(point.widths, point.batch_size)
    parameters = floor.parameters(point.widths)
    turns = [
        {
            "training": next(epochs),
            "products": floor.product_seconds(products, point.steps),
            "bandwidth": floor.bandwidth(parameters, point.steps),
        }
        for _ in range(5)
    ]
    return {name: [turn[name] for turn in turns] for name in turns[0]}


def _inputs(point: Point) -> tuple[Any, Any]:
    """Returns the variant with batch normalisation at this point, and its examples."""
    from benchmarks.engine import of_epochs
    from pipeline.examples.dataset import Examples
    from pipeline.examples.prepared import read_prepared
    from pipeline.params_file import read_params

    dataset = read_prepared()
    train, validation, test = (
        Examples(part.inputs[:count], part.labels[:count])
        for part, count in zip(
            (dataset.train, dataset.validation, dataset.test),
            (point.examples, point.examples // 11, 1),
            strict=True,
        )
    )
    variant = of_epochs(read_params().variants["batch_norm"], 1)
    training = variant.training.model_copy(update={"batch_size": point.batch_size})
    network = variant.network.model_copy(update={"hidden_dims": point.hidden_dims})
    return (
        variant.model_copy(update={"training": training, "network": network}),
        replace(dataset, train=train, validation=validation, test=test),
    )


if __name__ == "__main__":
    _, _kind, _fields = sys.argv
    _loaded = json.loads(_fields)
    _point = Point(**{**_loaded, "hidden_dims": tuple(_loaded["hidden_dims"])})
    print(json.dumps({"growth": _growth, "beside_floor": _beside_floor}[_kind](_point)))
