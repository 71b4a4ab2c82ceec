import sys

import pytest

from benchmarks.job import Scores
from benchmarks.protocol import PeerError, Process


@pytest.fixture
def process(job):
    with Process(sys.executable, "tests.benchmarks.toy_peer", {}) as started:
        started.prepare(job)
        started.expect_ready()
        yield started


def test_a_task_is_answered_by_the_scores_of_each_seed_and_epoch(process):
    process.ask("no_norm", [3, 5])
    answer = process.answer()
    assert answer.scores == [
        [Scores(0, 0.3, 0.01, 0.5), Scores(1, 0.3, 0.01, 0.5)],
        [Scores(0, 0.5, 0.01, 0.5), Scores(1, 0.5, 0.01, 0.5)],
    ]
    assert 2**20 < answer.peak_memory < 2**33


def test_a_process_that_ends_instead_of_answering_is_quoted(process):
    process.ask("unknown", [0])
    with pytest.raises(PeerError, match=r"toy_peer ended:\n(.*\n)*no such variant"):
        process.answer()
