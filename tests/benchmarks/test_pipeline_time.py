import pytest

from benchmarks.pipeline_time import Line, Watched, stage_seconds, training_seconds

SAID = Watched(
    lines=[
        Line(1.0, "Stage 'prepare' didn't change, skipping"),
        Line(2.0, "Running stage 'train@no_norm':"),
        Line(9.0, "Without BN: seed 0 epoch 0: train loss 0.2, validation accuracy 0.9 (1 of 4)"),
        Line(9.5, "Without BN: seed 1 epoch 0: train loss 0.2, validation accuracy 0.9 (2 of 4)"),
        Line(10.0, "Without BN: seed 0 epoch 1: train loss 0.2, validation accuracy 0.9 (3 of 4)"),
        Line(10.5, "Without BN: seed 1 epoch 1: train loss 0.2, validation accuracy 0.9 (4 of 4)"),
        Line(12.0, "Running stage 'evaluate':"),
    ],
    seconds=20.0,
)


def test_a_stage_lasts_until_the_next_begins():
    expected = {"dvc before the first stage": 2.0, "train@no_norm": 10.0, "evaluate": 8.0}
    assert stage_seconds(SAID) == expected


def test_training_is_divided_by_hand():
    # Four epochs, each half a second after the other; 8.5 s until the last, 3 of them imports.
    assert training_seconds(SAID, "train@no_norm", 3.0) == pytest.approx(
        {"import": 3.0, "compile": 8.5 - 3.0 - 2.0, "train": 2.0, "rest": 1.5}
    )
