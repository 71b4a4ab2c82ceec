"""Scores each run on the test set, once."""

import numpy as np
import pandas as pd

from pipeline.evaluation.results import RECALL, Predictions, write_predictions, write_test_scores
from pipeline.evaluation.scores import confusion_matrix, measures, recall
from pipeline.examples.dataset import Examples
from pipeline.examples.prepared import read_prepared
from pipeline.files import damaged
from pipeline.params import Params, Variant
from pipeline.runs.epochs import best_epoch
from pipeline.runs.models import read_model, read_weights
from pipeline.runs.tables import RUNS, epochs_of, read_history, remove_undeclared, run_folder
from pipeline.training.solver import Scorer


def run(params: Params) -> None:
    """Writes the test scores and predictions of all runs of each variant."""
    test = read_prepared().test
    remove_undeclared(params.variants)
    for name, variant in params.variants.items():
        scores, predictions = _score_runs(name, variant, test)
        write_test_scores(name, scores)
        write_predictions(name, predictions)


def _score_runs(name: str, variant: Variant, test: Examples) -> tuple[pd.DataFrame, Predictions]:
    rows, predicted, confidence = [], [], []
    epochs = _scored_epochs(name, variant)
    # The network is compiled once and takes the weights of each run in turn.
    model = read_model(run_folder(name, 0))
    scorer = Scorer(model)
    for seed in range(variant.training.seeds):
        weights = read_weights(model, run_folder(name, seed))
        probabilities, scores = scorer.predict_and_score(weights, test.inputs, test.labels)
        predicted.append(probabilities.argmax(axis=1).astype(np.uint8))
        confidence.append(probabilities.max(axis=1))
        recalls = recall(confusion_matrix(test.labels, predicted[-1], probabilities.shape[1]))
        rows.append(
            {"seed": seed, "epoch": epochs[seed]}
            | {"loss": scores.loss, "accuracy": scores.accuracy}
            | measures(test.labels, probabilities)
            | {f"{RECALL}{place}": share for place, share in enumerate(recalls)}
        )
    table = pd.DataFrame(rows).round(7)
    return table, Predictions(np.stack(predicted), np.stack(confidence))


def _scored_epochs(name: str, variant: Variant) -> list[int]:
    """Returns the epoch whose network training left behind, of each run."""
    history, stopping = read_history(name), variant.training.early_stopping
    try:
        runs = [epochs_of(history, seed) for seed in range(variant.training.seeds)]
    except LookupError:
        raise damaged(RUNS / name / "history.csv", "it lacks epochs of a run") from None
    return [best_epoch(run, stopping.monitor) if stopping else len(run) - 1 for run in runs]
