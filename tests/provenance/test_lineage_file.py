import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import DataError
from pipeline.files import sha256
from pipeline.provenance.lineage import Lineage, present_lineage, read_journal, write_journal
from pipeline.provenance.lineage_file import TRAVELLING, exchange, read_lineage_file
from pipeline.runs.tables import WEIGHTS, run_folder
from tests.commands.repositories import git
from tests.faults.written import SEEDS, VARIANTS, manifest_of

MANIFESTS = [manifest_of(variant) for variant in VARIANTS]
RUNS = {(one.variant, seed): one.fingerprint(seed) for one in MANIFESTS for seed in SEEDS}
ONE = RUNS["no_norm", 1]
CHANGED = (
    b"diff --git a/params.yaml b/params.yaml\n--- a/params.yaml\n+++ b/params.yaml\n@@ -1 +1 @@\n"
)
TAGS = {"threads": "2", "mlflow.source.git.commit": "c0ffee", "git.dirty": "true"}
LINEAGE = Lineage(TAGS, CHANGED + b"-a: 1\n+a: \xff\r\n", 1.5, 3.25)


@pytest.fixture
def file(project):
    """The lineage file of a project that has weights of four runs, and no lineage of them yet."""
    write_weights()
    return project / "reports/lineage.json"


def write_weights(text="weights"):
    for variant, seed in RUNS:
        run_folder(variant, seed).mkdir(parents=True, exist_ok=True)
        (run_folder(variant, seed) / WEIGHTS).write_text(f"{text} {variant} {seed}")


def made(lineage, variant="no_norm", seed=1):
    """The same with the hash of the weights on disk, as training leaves it."""
    return replace(lineage, weights_sha256=sha256(run_folder(variant, seed) / WEIGHTS))


@pytest.fixture
def elsewhere(file, tmp_path_factory, monkeypatch):
    """Goes to another clone with the same runs, and the lineage file as it is here then."""

    def go():
        clone = tmp_path_factory.mktemp("clone")
        content = file.read_bytes()
        monkeypatch.chdir(clone)
        write_weights()
        Path("reports").mkdir()
        Path("reports/lineage.json").write_bytes(content)
        return clone / "reports/lineage.json"

    return go


def test_the_lineage_of_training_arrives_elsewhere(file, elsewhere):
    lineage = made(LINEAGE)
    write_journal(ONE, lineage)
    assert exchange(MANIFESTS) == {ONE: lineage}
    content = file.read_bytes()

    there = elsewhere()

    assert exchange(MANIFESTS) == {ONE: lineage}
    assert read_journal(ONE) == lineage
    assert there.read_bytes() == content


def test_the_file_can_be_read_by_people(file):
    write_journal(ONE, made(replace(LINEAGE, patch=CHANGED + b"-a: 1\n+a: 2\n")))
    exchange(MANIFESTS)

    (training,) = json.loads(file.read_text())["trainings"]
    assert training == {
        "tags": TAGS,
        "patch": [*CHANGED.decode().splitlines(), "-a: 1", "+a: 2", ""],
        "runs": {
            ONE: {
                "weights_sha256": sha256(run_folder("no_norm", 1) / WEIGHTS),
                "started": 1.5,
                "ended": 3.25,
            }
        },
    }


def test_runs_of_one_training_share_their_tags(file):
    for (variant, seed), fingerprint in RUNS.items():
        write_journal(fingerprint, made(replace(LINEAGE, started=float(seed)), variant, seed))
    exchange(MANIFESTS)

    (training,) = json.loads(file.read_text())["trainings"]
    assert list(training["runs"]) == sorted(RUNS.values())


def test_what_the_file_has_stays_when_a_run_is_trained_again_to_the_same_weights(file, elsewhere):
    write_journal(ONE, made(LINEAGE))
    exchange(MANIFESTS)
    content = file.read_bytes()
    there = elsewhere()
    again = made(Lineage({"threads": "7"}, started=8.0, ended=9.0))

    write_journal(ONE, again)

    # MLflow shows the training that its live view showed.
    assert exchange(MANIFESTS) == {ONE: again}
    assert there.read_bytes() == content


def commit(file):
    git("init")
    git("add", "-f", str(file))
    git("-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "-m", "Lineage")


@pytest.mark.usefixtures("file")
def test_the_way_back_from_an_experiment_ends_with_the_committed_file(elsewhere):
    write_journal(ONE, made(LINEAGE))
    exchange(MANIFESTS)
    there = elsewhere()
    committed = there.read_bytes()
    commit(there)
    # Trained here once more, to the same weights; then an experiment has other runs.
    write_journal(ONE, made(replace(LINEAGE, started=20.0, ended=30.0)))
    exchange([one for one in MANIFESTS if one.variant != "no_norm"])
    assert ONE not in read_lineage_file()

    exchange(MANIFESTS)

    assert there.read_bytes() == committed


def test_a_damaged_file_in_the_last_commit_is_nobodys_lineage(file):
    file.parent.mkdir(exist_ok=True)
    file.write_text("{")
    commit(file)
    file.unlink()
    write_journal(ONE, lineage := made(LINEAGE))

    assert exchange(MANIFESTS) == {ONE: lineage}
    assert list(read_lineage_file()) == [ONE]


def test_a_run_that_came_out_with_other_weights_has_its_own_lineage(file, elsewhere):
    write_journal(ONE, made(LINEAGE))
    exchange(MANIFESTS)
    there = elsewhere()
    write_weights("other weights")
    other = made(Lineage({"threads": "7"}))

    assert exchange(MANIFESTS) == {}
    write_journal(ONE, other)

    assert exchange(MANIFESTS) == read_lineage_file() == {ONE: other}
    # The others come back, by `dvc checkout`, say.
    write_weights()
    there.write_bytes(file.read_bytes())
    assert exchange(MANIFESTS) == read_lineage_file() == {ONE: made(LINEAGE)}


def test_the_file_has_present_runs_only_and_the_journals_keep_the_others(file, elsewhere):
    write_journal(RUNS["batch_norm", 0], made(LINEAGE, "batch_norm", 0))
    write_journal(ONE, made(LINEAGE))
    exchange(MANIFESTS)
    content = file.read_bytes()
    there = elsewhere()

    exchange([manifest_of("no_norm")])
    assert set(read_lineage_file()) == {ONE}

    exchange(MANIFESTS)
    assert there.read_bytes() == content


def test_a_run_whose_lineage_nobody_has_is_left_out(file):
    assert exchange(MANIFESTS) == {}
    assert json.loads(file.read_text()) == {"trainings": []}


def test_a_journal_of_an_earlier_version_says_nothing_of_weights(file):
    write_journal(ONE, LINEAGE)

    assert exchange(MANIFESTS) == {ONE: LINEAGE}
    assert file.exists()


NEW = b"""\
diff --git a/networks/a secret.py b/networks/a secret.py
new file mode 100644
index 0000000..1
--- /dev/null
+++ b/networks/a secret.py
@@ -0,0 +1 @@
+diff --git a/x b/x
"""
GONE = b"""\
diff --git a/old.bin b/old.bin
deleted file mode 100644
index 1..0000000
GIT binary patch
literal 0
HcmV?d00001

"""


def test_new_files_stay_at_home_and_are_named(file):
    write_journal(ONE, made(replace(LINEAGE, patch=NEW + LINEAGE.patch + GONE)))
    here = exchange(MANIFESTS)
    travelled = read_lineage_file()

    assert here[ONE].patch == NEW + LINEAGE.patch + GONE
    assert travelled[ONE].patch == LINEAGE.patch + GONE
    assert travelled[ONE].tags["git.patch.left_out"] == "networks/a secret.py"
    assert "+diff --git" not in file.read_text()


def test_changes_too_large_to_travel_are_named(file):
    large = CHANGED.replace(b"params.yaml", b"large.csv") + b"+" + b"1" * 100_000 + b"\n"
    tags = TAGS | {"git.patch.left_out": "larger.bin"}
    write_journal(ONE, made(replace(LINEAGE, tags=tags, patch=large + LINEAGE.patch)))
    exchange(MANIFESTS)

    travelled = read_lineage_file()[ONE]
    assert travelled.patch == LINEAGE.patch
    assert travelled.tags["git.patch.left_out"] == "larger.bin, large.csv"
    assert file.stat().st_size < 2000


def test_what_a_public_repository_should_not_hold_stays_at_home(file):
    private = {"process.host": "anna-laptop", "settings.set_aside": "KERAS_HOME=/home/anna"}
    write_journal(ONE, made(replace(LINEAGE, tags=TAGS | private)))

    assert exchange(MANIFESTS)[ONE].tags == TAGS | private
    assert read_lineage_file()[ONE].tags == TAGS
    assert "anna" not in file.read_text()


@pytest.mark.usefixtures("project")
def test_of_each_tag_it_is_decided_whether_it_travels():
    stays = {"settings.set_aside"}
    assert present_lineage(threads=1).tags.keys() <= TRAVELLING | stays


def test_what_a_file_from_elsewhere_adds_is_not_taken(file):
    write_journal(ONE, made(LINEAGE))
    exchange(MANIFESTS)
    content = json.loads(file.read_text())
    content["trainings"][0]["tags"]["bnlab.fingerprint"] = "another run's"
    file.write_text(json.dumps(content))

    assert read_lineage_file()[ONE].tags == TAGS


# It would be written to the folder above.
ABOVE = {"../above": {"weights_sha256": "", "started": None, "ended": None}}


@pytest.mark.parametrize(
    "content",
    [
        "", "[]", "{}", "\xff", '{"trainings": [{}]}', '{"trainings": 1}',
        '{"trainings": [{"tags": {}, "patch": [1], "runs": {}}]}',
        json.dumps({"trainings": [{"tags": {}, "patch": [], "runs": ABOVE}]}),
    ],
)  # fmt: skip
def test_a_damaged_file_is_reported_and_nothing_is_written(file, content):
    file.parent.mkdir()
    file.write_text(content, encoding="latin-1")

    with pytest.raises(DataError) as error:
        exchange(MANIFESTS)

    assert str(error.value).startswith("reports/lineage.json is damaged: ")
    assert str(error.value).endswith("; `git restore reports/lineage.json` brings it back")
    assert not Path(".bnlab").exists()
    assert file.read_text(encoding="latin-1") == content


def test_conflicts_of_a_merge_are_reported(file):
    file.parent.mkdir()
    file.write_text('{\n<<<<<<< HEAD\n "trainings": []\n=======\n>>>>>>> other\n}\n')

    with pytest.raises(DataError, match=r"conflicts of a merge: .*git checkout --ours reports/lin"):
        exchange(MANIFESTS)
