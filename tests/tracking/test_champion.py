import json
from pathlib import Path

import mlflow
import pytest

from pipeline.errors import DataError
from pipeline.params_file import read_params
from pipeline.tracking import track
from pipeline.tracking.champion import CHAMPION_FILE, write_champion
from pipeline.tracking.registry import Registry
from tests.faults.written import EXPERIMENT, manifest_of, write_runs

pytestmark = pytest.mark.slow

CANDIDATE = manifest_of("batch_norm")


@pytest.fixture
def tracked(tracked_project):
    """Tracks four runs into a store without a champion; gives its client."""
    write_runs()

    def tracked():
        track.run(read_params())
        return mlflow.MlflowClient(f"sqlite:///{tracked_project}/mlflow.db")

    return tracked


def champion(client):
    version = Registry(EXPERIMENT).champion()
    return version and (client.get_run(version.run_id).info.run_name, version.tags)


def test_without_a_file_nobody_is_champion(tracked):
    assert champion(tracked()) is None


def test_the_champion_of_the_file_is_made_that_of_a_store_without_one(tracked):
    write_champion(CANDIDATE.fingerprint(1), {"verdict": "candidate_better"}, "The best.")

    assert champion(tracked()) == ("batch_norm-seed-01", {"verdict": "candidate_better"})
    assert champion(tracked()) == ("batch_norm-seed-01", {"verdict": "candidate_better"})
    version = Registry(EXPERIMENT).champion()
    assert (version.version, version.description) == (1, "The best.")


def test_a_champion_of_ones_own_stays_and_that_is_said(tracked, caplog):
    write_champion(CANDIDATE.fingerprint(1), {}, "The best.")
    tracked()
    write_champion(CANDIDATE.fingerprint(0), {}, "The best.")

    assert champion(tracked()) == ("batch_norm-seed-01", {})
    (told,) = caplog.messages
    assert told.startswith("MLflow's champion is not the run that reports/champion.json names, and")


def test_a_champion_whose_run_is_not_here_is_made_when_it_is(tracked, caplog):
    write_champion("f1", {}, "The best.")
    assert champion(tracked()) is None
    assert caplog.messages == []

    write_champion(CANDIDATE.fingerprint(1), {}, "The best.")
    assert champion(tracked()) == ("batch_norm-seed-01", {})


def test_after_an_ablation_the_champion_stays_without_a_word(tracked, caplog):
    write_champion(CANDIDATE.fingerprint(1), {}, "The best.")
    tracked()
    write_champion("f1", {}, "The best.")

    assert champion(tracked()) == ("batch_norm-seed-01", {})
    assert caplog.messages == []


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"fingerprint": "f1", "tags": []}'])
def test_a_damaged_file_is_reported(tracked, content):
    CHAMPION_FILE.write_text(content)

    with pytest.raises(DataError, match=r"^reports/champion\.json is damaged, or has conflicts"):
        tracked()


def test_the_file_says_which_run_and_why(project):
    write_champion("f1", {"verdict": "candidate_better"}, "The best.")

    content = json.loads((project / Path("reports/champion.json")).read_text())
    assert content == {
        "fingerprint": "f1", "tags": {"verdict": "candidate_better"}, "description": "The best.",
    }  # fmt: skip
