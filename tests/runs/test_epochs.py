import math

import pytest

from pipeline.params import EarlyStopping
from pipeline.runs.epochs import EpochScores, Scores, best_epoch, is_over


def history(*validation):
    return [
        EpochScores(0, epoch, Scores(9, 0), Scores(loss, accuracy))
        for epoch, (loss, accuracy) in enumerate(validation)
    ]


@pytest.mark.parametrize(
    ("scores", "by_loss", "by_accuracy"),
    [
        ([(0.5, 0.8)], 0, 0),
        ([(0.5, 0.8), (0.4, 0.7), (0.6, 0.9)], 1, 2),
        ([(0.5, 0.8), (0.5, 0.8)], 0, 0),
        ([(math.nan, math.nan), (9.0, 0.1), (math.nan, math.nan)], 1, 1),
        ([(math.nan, math.nan), (math.nan, math.nan)], 0, 0),
    ],
)
def test_the_best_epoch_is_the_first_with_the_best_score(scores, by_loss, by_accuracy):
    assert best_epoch(history(*scores), "loss") == by_loss
    assert best_epoch(history(*scores), "accuracy") == by_accuracy


def test_a_run_is_over_once_its_best_epoch_is_as_old_as_patience_allows():
    stopping = EarlyStopping(monitor="loss", patience=2)
    losses = [0.5, 0.4, 0.45, 0.41]
    over = [is_over(history(*((one, 0) for one in losses[:n])), stopping) for n in range(5)]
    assert over == [False, False, False, False, True]
    assert not is_over(history((1, 0), (2, 0), (3, 0), (4, 0)), None)
