"""What tests of several rooms stand on."""

import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from coverage import Coverage
from ruamel.yaml import YAML

from pipeline.cli import MLFLOW_SETTINGS
from tests import half_made
from tests.faults.mirror import Mirror
from tests.forks import python

pytest_plugins = ["tests.values", "tests.postgresql", "tests.s3"]

TESTS = Path(__file__).parent
# As on the command line, and before MLflow is imported.
os.environ.update(MLFLOW_SETTINGS)


def pytest_addoption(parser):
    parser.addoption("--page", type=Path, help="where tests of one folder write what came out")


def pytest_configure(config):
    """Makes a `python` that starts at once, for all processes of these tests; see tests/forks."""
    # Elsewhere a fork may not use what its parent has imported, or cannot be waited for so.
    if sys.platform == "linux" and python.FORKS not in os.environ:
        folder, end = python.start()
        os.environ[python.FORKS] = str(folder)
        config.add_cleanup(end)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    """Measures coverage, where it is asked for, of the covered rooms' own tests alone.

    Tests of other rooms run much of them without looking at what comes out.
    """
    measured = Coverage.current()
    room = f"pipeline.{item.path.relative_to(TESTS).parts[0]}"
    if measured is None or room in item.config.option.cov_source:
        return (yield)
    measured.stop()
    try:
        return (yield)
    finally:
        measured.start()


def pytest_collection_modifyitems(items):
    """Puts the slow tests first: begun last, they would leave all other processes waiting."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """An MLflow database with its schema, which takes two seconds to make, and nothing in it."""
    from pipeline.tracking import store  # noqa: PLC0415  MLflow takes as long to import.

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    store.MlflowClient(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def _half_made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("half-made")
    half_made.make(folder)
    return folder


@pytest.fixture
def leave_half_made(project, _half_made):
    """Puts a database in the project as MLflow leaves it when killed; see tests/half_made.py."""

    def leave(moment):
        shutil.copytree(_half_made / moment, project, dirs_exist_ok=True)
        return project / "mlflow.db"

    return leave


@pytest.fixture(scope="module")
def share_compiled():
    """Has the trainers that are made while a patch lasts share what they compile.

    That takes seconds each, for networks that train in hundredths of one.
    """
    from pipeline.training.trainer import Trainer  # noqa: PLC0415  TensorFlow takes as long.

    compiled, begin = {}, Trainer.__init__

    def begin_sharing(trainer, *arguments):
        begin(trainer, *arguments)
        trainer._solvers = compiled

    return lambda patch: patch.setattr(Trainer, "__init__", begin_sharing)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """An empty project as the current folder, whatever DVC and MLflow are told outside."""
    for name in ("DVC_ROOT", "DVC_EXP_NAME", "DVC_EXP_BASELINE_REV", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def no_store_of_another_test():
    """Takes back what a test told MLflow of its store, which holds for the whole process."""
    yield
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_tracking_uri(None)


@pytest.fixture(scope="session")
def python_at_once():
    """Path of a `python` that has TensorFlow and MLflow imported, where there is one."""
    return python.at_once()


@pytest.fixture
def tracked_project(project, empty_store):
    """The same with an MLflow store that has its schema already."""
    shutil.copy(empty_store, project / "mlflow.db")
    return project


@pytest.fixture
def serve():
    """Starts mirrors on this machine, which give the answers of `tests.faults.mirror`."""
    started = []

    def start(*answers, **options):
        started.append(Mirror(*answers, **options))
        return started[-1]

    yield start
    for mirror in started:
        mirror.stop()
        assert not mirror.faults


_OUTSIDE = ("DVC_", "MLFLOW_", "GIT_", "PYTHONDONTWRITEBYTECODE")


def epochs_trained(told):
    """Returns how many epochs ended trainings had, by their last lines: `… (20 of 20)`."""
    return sum(int(epochs) for epochs in re.findall(r"\((\d+) of \1\)$", told, re.MULTILINE))


class Clone:
    """A clone of what would be committed, with DVC and git at hand."""

    def __init__(self, folder, *, forks=False):
        self.folder = folder
        self.numbers = itertools.count()
        self.forks = forks

    @property
    def environment(self):
        """What is told outside of DVC, MLflow and git does not reach the clone.

        One worker compiles once: with so few seeds, two would only take longer. Bytecode is kept,
        for the many processes of a clone, and so is what they compile.
        """
        clean = {k: v for k, v in os.environ.items() if not k.startswith(_OUTSIDE)}
        path = [str(Path(sys.executable).parent), clean["PATH"]]
        if self.forks and python.FORKS in clean:
            path.insert(0, clean[python.FORKS])
            clean["TF_XLA_FLAGS"] = (
                f"--tf_xla_persistent_cache_directory={clean[python.FORKS]}/compiled"
            )
        return clean | {"PATH": os.pathsep.join(path), "BNLAB_WORKERS": "1"}

    def run(self, *command, check=True, **variables):
        ended = subprocess.run(
            command,
            cwd=self.folder, env=self.environment | variables, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if check and ended.returncode != 0:
            pytest.fail(f"{command}:\n{ended.stdout}\n{ended.stderr}")
        return ended

    def within(self, name):
        """A folder of it as a project of its own."""
        return Clone(self.folder / name, forks=self.forks)

    def set(self, **values):
        yaml = YAML()
        params = yaml.load(self.folder / "params.yaml")
        for name, value in values.items():
            *path, last = name.split("__")
            block = params
            for key in path:
                block = block[key]
            block[last] = value
        yaml.dump(params, self.folder / "params.yaml")

    def hashes(self, *names):
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for name in names
            for path in [self.folder / name, *(self.folder / name).rglob("*")]
            if path.is_file() and path.suffix != ".pyc"
        }

    def finished_runs(self):
        # A copy under a new name: MLflow keeps connections, even to a database since deleted.
        copy = self.folder.parent / f"{next(self.numbers)}.db"
        shutil.copy(self.folder / "mlflow.db", copy)
        import mlflow  # noqa: PLC0415  It takes seconds, which not all tests need.

        client = mlflow.MlflowClient(f"sqlite:///{copy}")
        ids = [experiment.experiment_id for experiment in client.search_experiments()]
        found = client.search_runs(ids, max_results=1000)
        assert {run.info.status for run in found} == {"FINISHED"}
        return client, [run for run in found if run.data.tags["kind"] == "run"], found


@pytest.fixture(scope="session")
def make_clone(tmp_path_factory):
    """Makes a clone whose parameters, say `training__epochs=2`, are set and committed.

    With `forks`, the `python` that DVC calls for its stages starts at once; see tests/forks.
    """

    def make(*, forks=False, **parameters):
        folder = tmp_path_factory.mktemp("clone") / "bnlab"
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard", "-z"],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        for name in filter(None, listed.split("\0")):
            if Path(name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(name, folder / name)
        clone = Clone(folder, forks=forks)
        clone.set(data__dataset="digits", data__validation_size=200, **parameters)
        # One layer compiles in half the time of two.
        clone.set(network__hidden_dims=[8])
        clone.run("git", "init", "-q", "-b", "main")
        identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
        clone.run("git", "add", "-A")
        clone.run("git", *identity, "commit", "-qm", "Digits")
        return clone

    return make
