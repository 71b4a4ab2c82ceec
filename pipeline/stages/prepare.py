"""Decodes the raw files, splits them and describes what is in them."""

from pathlib import Path

from pipeline.adapters.datasets import PREPARED_FILE, read_published, write_prepared
from pipeline.adapters.files import write_json
from pipeline.adapters.pictures import write_figure
from pipeline.core.examples import class_counts, split
from pipeline.core.figures import sample_digits
from pipeline.params import Params


def run(params: Params) -> None:
    """Writes `data/prepared.npz`, the class counts and a picture of sample digits."""
    training_file, test_file = read_published(params.data.dataset)

    dataset = split(training_file, test_file, params.data.validation_size)

    write_prepared(PREPARED_FILE, dataset)
    write_json(Path("reports/data.json"), class_counts(dataset))
    write_figure(Path("reports/figures/samples.png"), sample_digits(dataset.train))
