"""Several clones bring one store up to date at once: each run is there once, and nobody fails."""

import pytest

from tests.faults.clones import expect_each_once, expect_none_failed, start_tracking, write_clones

pytestmark = pytest.mark.slow
CLONES, ROUNDS = 4, 2


def test_clones_that_track_the_same_runs_at_once_add_each_once(team_store, project):
    folders = write_clones(project, CLONES, ROUNDS)

    expect_none_failed(start_tracking(folders, team_store.address))

    assert expect_each_once(team_store.address, ROUNDS) == ROUNDS * 5
