"""Scores each run on the test set, once."""

import numpy as np
import pandas as pd

from pipeline.evaluation.results import Predictions, write_predictions, write_test_scores
from pipeline.evaluation.scores import confusion_matrix, expected_calibration_error, recall
from pipeline.examples.dataset import Examples
from pipeline.examples.prepared import read_prepared
from pipeline.params import Params
from pipeline.runs.models import read_model, read_weights
from pipeline.runs.tables import remove_undeclared, run_folder
from pipeline.training.solver import Scorer


def run(params: Params) -> None:
    """Writes the test scores and predictions of all runs of each variant."""
    test = read_prepared().test
    remove_undeclared(params.variants)
    for name, variant in params.variants.items():
        scores, predictions = _score_runs(name, variant.training.seeds, test)
        write_test_scores(name, scores)
        write_predictions(name, predictions)


def _score_runs(variant: str, seeds: int, test: Examples) -> tuple[pd.DataFrame, Predictions]:
    rows, predicted, confidence = [], [], []
    # The network is compiled once and takes the weights of each run in turn.
    model = read_model(run_folder(variant, 0))
    scorer = Scorer(model)
    for seed in range(seeds):
        weights = read_weights(model, run_folder(variant, seed))
        probabilities = scorer.predict(weights, test.inputs)
        predicted.append(probabilities.argmax(axis=1).astype(np.uint8))
        confidence.append(probabilities.max(axis=1))
        scores = scorer.evaluate(weights, test.inputs, test.labels)
        error = expected_calibration_error(test.labels, predicted[-1], confidence[-1])
        recalls = recall(confusion_matrix(test.labels, predicted[-1], probabilities.shape[1]))
        rows.append(
            {"seed": seed, "loss": scores.loss, "accuracy": scores.accuracy}
            | {"expected_calibration_error": error}
            | {f"recall_{digit}": share for digit, share in enumerate(recalls)}
        )
    table = pd.DataFrame(rows).round(7)
    return table, Predictions(np.stack(predicted), np.stack(confidence))
