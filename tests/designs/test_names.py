import pytest

from pipeline.designs.names import direction, is_number, is_time, role, words


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("val_loss", ("val", "loss")),
        ("valLoss", ("val", "loss")),
        ("val loss/epoch-end", ("val", "loss", "epoch", "end")),
        ("MSEValue", ("mse", "value")),
        ("Δ_parity", ("δ", "parity")),
        ("f1score", ("f1score", "f", "1", "score")),
    ],
)
def test_words(name, expected):
    assert words(name) == expected


@pytest.mark.parametrize(
    "name",
    ["val_loss", "test error", "RMSE", "mean_squared_error", "trainTime", "perplexity", "log_loss",
     "seconds_per_epoch", "latency_ms", "duration_min", "eval/mae"],
)  # fmt: skip
def test_smaller_is_better(name):
    assert direction(name) is True


@pytest.mark.parametrize(
    "name",
    ["accuracy", "test_f1", "roc_auc", "neg_mean_squared_error", "images_per_second",
     "best_accuracy", "R2", "negative_loss", "top5_acc"],
)  # fmt: skip
def test_larger_is_better(name):
    if name == "images_per_second":
        assert direction(name) is None
    else:
        assert direction(name) is False


@pytest.mark.parametrize("name", ["score", "glossary", "terror", "timer", "Δ_parity", "timestep"])
def test_other_names_do_not_say(name):
    assert direction(name) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("time", True),
        ("fitTime", True),
        ("seconds_per_epoch", True),
        ("duration_min", True),
        ("elapsed s", True),
        ("images_per_second", False),
        ("time_steps", False),
        ("min", False),
        ("min_loss", False),
        ("s", False),
    ],
)
def test_times(name, expected):
    assert is_time(name) is expected


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("seed", ["1", "2"], "seed"),
        ("random_state", ["1", "2"], "seed"),
        ("state", ["on", "off"], "setting"),
        ("fold", ["0", "1"], "fold"),
        ("n_folds", ["5", "10"], "setting"),
        ("kfold", ["5", "10"], "setting"),
        ("dataset_name", ["a", "b"], "data"),
        ("data_path", ["/a/x.csv", "/a/y.csv"], "data"),
        ("data_augmentation", ["True", "False"], "setting"),
        ("data_hash", ["12", "34"], "provenance"),
        ("git_commit", ["12", "34"], "provenance"),
        ("torch_version", ["2.1", "2.2"], "provenance"),
        ("checkpoint", ["a", "b"], "provenance"),
        ("trial", ["0", "1"], "repeat"),
        ("repeat_id", ["0", "1"], "repeat"),
        ("exp_name", ["a", "b"], "identity"),
        ("output_dir", ["a", "b"], "identity"),
        ("job id", ["1", "2"], "identity"),
        ("number", ["1", "2"], "setting"),
        ("logs", ["runs/a.txt", "runs/b.txt"], "identity"),
        ("logs", ["./a", "../b"], "identity"),
        ("logs", [r"C:\runs\a", r"D:\b"], "identity"),
        ("logs", ["s3://bucket/a", "https://host/b"], "identity"),
        ("logs", ["(3, 4)", "a/b"], "setting"),
        ("key", ["0a9e2f58", "41d8b8ba"], "identity"),
        ("key", ["12345678", "23456789"], "setting"),
        ("when", ["2024-01-02", "2024-01-03T10:00"], "identity"),
        ("when", ["20240102_101112", "20240103_101112"], "identity"),
        ("when", ["1700000000", "1700000001.5"], "identity"),
        ("library", ["1.2.3", "v1.3.0rc1"], "identity"),
        ("optimizer", ["adam", "sgd"], "setting"),
    ],
)
def test_roles(name, values, expected):
    assert role(name, values, 10) == expected


def test_texts_that_differ_in_each_run_are_labels_but_numbers_are_not():
    assert role("label", ["a", "b", "c"], 3) == "label"
    assert role("label", ["a", "b", "c"], 4) == "setting"
    assert role("label", ["a", "b"], 2) == "setting"
    assert role("width", ["1", "2", "3"], 3) == "setting"


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1", True), ("-1.5e-3", True), (".5", True), ("1_000", False), ("nan", False),
     ("inf", False), ("", False), ("1.2.3", False), ("5.", True)],
)  # fmt: skip
def test_numbers(text, expected):
    assert is_number(text) is expected
