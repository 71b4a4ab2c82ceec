import os

import pytest

from pipeline.errors import ParamsError


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("none.csv", "`path` must be a file or folder that is here, got 'none.csv'"),
        ("own.txt", "`path` must be a .npz, .csv or .parquet, or a folder of IDX files or of pict"),
        ("own", "`path` must be a .npz, .csv or .parquet, or a folder of IDX files or of pictures"),
    ],
)
def test_a_path_to_nothing_that_can_be_read_is_refused(project, refusal, path, told):
    for name in ("own.txt", "own"):
        (project / name).write_text("a,b\n")

    assert refusal(path, ParamsError).startswith(told)


def test_a_pipe_is_not_waited_for(project, refusal):
    os.mkfifo(project / "own.csv")

    assert refusal("own.csv", ParamsError, label="a").startswith("`path` must be a .npz, .csv or")


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to root")
@pytest.mark.parametrize("name", ["own.csv", "own.npz", "own.parquet"])
def test_a_file_that_may_not_be_read_is_named(project, refusal, name):
    (project / name).touch(mode=0)

    label = None if name.endswith("npz") else "a"
    assert refusal(name, label=label).startswith(f"{name} cannot be read")
