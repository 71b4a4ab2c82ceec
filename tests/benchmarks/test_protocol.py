import os
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


def test_a_peer_may_print_much_and_has_none_of_our_settings(process):
    # Importing `pipeline`, as both processes did, sets them.
    assert "XLA_FLAGS" in os.environ
    process.ask("verbose", [0])
    with pytest.raises(PeerError) as ended:
        process.answer()
    variables = str(ended.value).splitlines()[-1].split()
    assert "CUDA_VISIBLE_DEVICES" in variables
    ours = {"XLA_FLAGS", "TF_NUM_INTRAOP_THREADS", "ONEDNN_MAX_CPU_ISA", "NPY_DISABLE_CPU_FEATURES"}
    assert not ours & set(variables)


def test_a_process_that_ends_instead_of_answering_is_quoted(process):
    process.ask("unknown", [0])
    with pytest.raises(PeerError, match=r"toy_peer ended:\n(.*\n)*no such variant"):
        process.answer()
