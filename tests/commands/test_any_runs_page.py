"""The walk through a published store in docs/any-runs.md is what its commands print."""

import re
import shlex
import shutil
import tarfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
STORE = CHECKOUT.parent / "shared" / "mlruns" / "minlp-factorial" / "mlruns.tar.gz"
WALK = re.findall(
    r"```\n\$ bnlab (.*)\n((?:.*\n)+?)```",
    (CHECKOUT / "docs/any-runs.md").read_text(encoding="utf-8"),
)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    if not STORE.exists():
        pytest.skip("the published store is not beside the project")
    folder = tmp_path_factory.mktemp("published")
    with tarfile.open(STORE) as packed:
        # Python before 3.11.4 has no filters.
        packed.extraction_filter = getattr(tarfile, "data_filter", None)
        packed.extractall(folder)  # noqa: S202  As it was published, and known.
    return folder / "mlruns"


def test_the_walk_has_steps():
    assert len(WALK) == 3


@pytest.mark.slow
@pytest.mark.parametrize(("command_line", "printed"), WALK, ids=[line for line, _ in WALK])
def test_each_step_of_the_walk_prints_what_the_page_shows(command, unpacked, command_line, printed):
    shutil.copytree(unpacked, "mlruns")
    name, *arguments = shlex.split(command_line)
    assert name == "compare"
    _, out, err = command(*arguments)
    assert out + err == printed
