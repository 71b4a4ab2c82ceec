"""Lost and damaged files are found and written again, wherever MLflow keeps them."""

import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from pipeline.errors import PendingError
from pipeline.health import artifacts
from pipeline.health.tracked_runs import TrackedExperiment, files_by_fingerprint
from pipeline.params_file import read_params
from pipeline.provenance.lineage import Lineage, weights_sha256, write_journal
from pipeline.provenance.places import tracking_uri
from pipeline.runs.tables import WEIGHTS
from pipeline.tracking import track
from tests.faults.servers import Server
from tests.faults.written import EXPERIMENT, VARIANTS, write_runs

pytestmark = pytest.mark.slow


class InFolder:
    """Artifacts in a folder."""

    def __init__(self, folder):
        self.folder = folder

    def find(self, ending):
        return min(path for path in self.folder.rglob("*") if str(path).endswith(ending))

    def read(self, path):
        return path.read_bytes()

    def write(self, path, content):
        path.write_bytes(content)

    def remove(self, path):
        path.unlink()


class InS3:
    """Artifacts in a bucket."""

    def __init__(self, bucket):
        self.bucket = bucket

    def find(self, ending):
        return min(one.key for one in self.bucket.objects.all() if one.key.endswith(ending))

    def read(self, path):
        return self.bucket.Object(path).get()["Body"].read()

    def write(self, path, content):
        self.bucket.Object(path).put(Body=content)

    def remove(self, path):
        self.bucket.Object(path).delete()


def slow(place):
    """A place that is looked at with the slow tests."""
    return pytest.param(place, marks=pytest.mark.slow)


@pytest.fixture(params=["folder", "s3", slow("server"), slow("server on s3")])
def kept(request, tracked_project, monkeypatch):
    """The place where MLflow has the files of a project whose runs are tracked."""
    write_runs()
    s3 = request.getfixturevalue("s3") if request.param.endswith("s3") else None
    server = None
    if request.param.startswith("server"):
        folder = tracked_project / "server"
        folder.mkdir()
        shutil.copy("mlflow.db", folder)
        server = Server(folder)
        to_s3 = {"MLFLOW_ARTIFACTS_DESTINATION": s3.address, **s3.variables} if s3 else {}
        server.start(**to_s3)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri())
    elif s3:
        MlflowClient(tracking_uri()).create_experiment(EXPERIMENT, s3.address)
    track.run(read_params())
    yield InS3(s3.bucket) if s3 else InFolder(tracked_project)
    if server:
        server.kill()


def findings():
    experiment = TrackedExperiment(EXPERIMENT, files_by_fingerprint(VARIANTS))
    return list(artifacts.findings(experiment, "mnist"))


def in_mlflow(path):
    """Not among the runs on disk, whose files have the same names."""
    return f"artifacts/artifacts/{path}"


def remove(kept, path):
    kept.remove(path)


def cut_off(kept, path):
    kept.write(path, kept.read(path)[:-1])


def turn_a_bit(kept, path):
    first, *rest = kept.read(path)
    kept.write(path, bytes([first ^ 1, *rest]))


def test_what_is_lost_or_damaged_is_found_and_written_again(kept):
    assert findings() == []
    path = kept.find(in_mlflow(WEIGHTS))
    right = kept.read(path)

    # On one server: it takes long to start.
    for change, told in [(remove, "lost"), (cut_off, "damaged"), (turn_a_bit, "damaged")]:
        change(kept, path)
        (finding,) = findings()
        assert finding.what.startswith(f"MLflow has {told} files of the model of ")
        finding.mend()

        assert kept.read(path) == right
        assert findings() == []


def test_a_file_of_a_run_is_written_again(kept):
    path = kept.find("artifacts/lineage/manifest.json")
    right = kept.read(path)

    kept.write(path, b"{}")
    (finding,) = findings()
    finding.mend()

    assert finding.what.startswith("MLflow has damaged files of the run ")
    assert kept.read(path) == right
    assert findings() == []


@pytest.mark.parametrize("kept", ["folder"], indirect=True)
def test_what_is_damaged_here_does_not_replace_what_is_whole_there(kept):
    for fingerprint, files in files_by_fingerprint(VARIANTS).items():
        sha256 = weights_sha256(files.variant, files.seed)
        write_journal(fingerprint, Lineage({}, weights_sha256=sha256))
    path = kept.find(in_mlflow(WEIGHTS))
    right = kept.read(path)
    for weights in Path("runs").rglob(WEIGHTS):
        weights.write_bytes(weights.read_bytes()[:-1])

    assert findings() == []
    kept.remove(path)
    (finding,) = findings()
    assert finding.mend is None
    kept.write(path, right)
    assert findings() == []


def test_what_is_lost_here_too_is_told_and_not_mended(kept):
    kept.remove(kept.find(in_mlflow(WEIGHTS)))
    shutil.rmtree("runs")

    (finding,) = findings()

    assert finding.mend is None
    assert "mlflow runs delete --run-id" in finding.remedy


@pytest.mark.usefixtures("project")
def test_a_bucket_that_is_gone_is_pending_and_nothing_is_finished(s3, tracked_project):
    write_runs()
    client = MlflowClient(tracking_uri())
    own = client.create_experiment(EXPERIMENT, "s3://gone/artifacts")

    with pytest.raises(PendingError, match="NoSuchBucket") as pending:
        track.run(read_params())

    assert len(str(pending.value).splitlines()) == 1
    assert {run.info.status for run in client.search_runs([own])} == {"RUNNING"}
    s3.bucket.meta.client.create_bucket(Bucket="gone")
    track.run(read_params())
    assert {run.info.status for run in client.search_runs([own])} == {"FINISHED"}
    assert Path(tracked_project / "mlflow.tracked").exists()
