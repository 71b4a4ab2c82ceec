import pytest

from pipeline.datasets.own.read import read_own
from pipeline.errors import DataError, ParamsError
from pipeline.params import Data


@pytest.fixture
def read(project):  # noqa: ARG001
    """Reads a path of the current folder, with keys of `data` beside it."""

    def read(path, **keys):
        return read_own(Data(dataset="file", path=path, **({"split_seed": 0} | keys)))

    return read


@pytest.fixture
def refusal(read):
    """Returns the one-line error about a path, of a kind."""

    def told(path, kind=DataError, **keys):
        with pytest.raises((DataError, ParamsError)) as error:
            read(path, **({"validation_size": 2, "test_size": 2} | keys))
        assert error.type is kind, error.value
        (line,) = str(error.value).splitlines()
        return line

    return told
