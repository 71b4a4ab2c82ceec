"""Fetches the dataset's published files and verifies them."""

from pipeline.datasets.catalogue import DATASETS, RAW_FOLDER
from pipeline.datasets.mirrors import fetch, mirrors_for
from pipeline.errors import UnavailableError
from pipeline.files import clear
from pipeline.params import Params


def run(params: Params) -> None:
    """Fills `data/raw` with the files of `data.dataset`.

    Raises:
        UnavailableError: if a file could not be had from any mirror.
        CannotCreateError: if the folder or a file cannot be made.
        WriteError: if writing fails half-way, as on a full disk.
    """
    name = params.data.dataset
    source = DATASETS[name]
    mirrors = mirrors_for(name, source.mirrors())
    # What another dataset left would be taken for a part of this one.
    clear(RAW_FOLDER, keep=[file.name for file in source.files])
    try:
        fetch(source.files, mirrors, RAW_FOLDER)
    except UnavailableError as error:
        way_out = f"set {name.upper()}_MIRROR to a folder or URL that has it, or try `make demo`"
        raise UnavailableError(f"{error}. {way_out[0].upper()}{way_out[1:]}") from None
