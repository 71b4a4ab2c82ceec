import pytest

from pipeline.studies.words import headed, is_share, smaller_is_better, words


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("test_accuracy", "test accuracy"),
        ("fgsm_0.05_accuracy", "FGSM 0.05 accuracy"),
        ("test_macro_f1", "test macro F1"),
        ("test_roc_auc_mean", "mean test ROC AUC over training"),
        ("test_accuracy_mean", "mean test accuracy over training"),
        ("percentile_15_drift", "drift of the 15th percentile of inputs"),
        ("hidden_cosine_mean", "mean cos(G, G') of hidden layers over training"),
    ],
)
def test_names_are_written_as_people_write_them(name, expected):
    assert words(name) == expected


def test_headed_capitalises_words_but_not_formulas():
    assert headed("dead_units") == "Dead units"
    assert headed("test_loss_mean") == "Mean test loss over training"
    assert headed("output_cosine") == "cos(G, G') of the output layer"


def test_shares_are_shown_in_per_cent():
    assert is_share("pgd_0.1_accuracy")
    assert is_share("test_accuracy_mean")
    assert not is_share("test_loss")


@pytest.mark.parametrize("name", ["balanced_accuracy", "macro_f1", "roc_auc"])
def test_scores_of_a_classifier_are_shares(name):
    assert is_share(f"test_{name}")
    assert not smaller_is_better(f"test_{name}")


@pytest.mark.parametrize(
    "name", ["test_loss", "validation_loss_mean", "test_expected_calibration_error"]
)
def test_of_losses_and_calibration_errors_less_is_better(name):
    assert smaller_is_better(name)


@pytest.mark.parametrize(
    "name", ["test_accuracy", "test_accuracy_mean", "loss_range", "dead_units"]
)
def test_of_other_measures_more_is_better(name):
    assert not smaller_is_better(name)
