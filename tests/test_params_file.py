import copy
import io
from fnmatch import fnmatchcase
from functools import reduce
from operator import getitem
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.errors import ParamsError
from pipeline.params import Params, Training
from pipeline.params_file import params_of, read_params
from tests.networks import PARAMS

SHIPPED = Path(__file__).parents[1] / "params.yaml"
TREE = YAML(typ="safe").load(SHIPPED)
ABSENT = object()


def changed(*changes, tree=TREE):
    """Returns the shipped tree with other values; a path is `section.key`."""
    tree = copy.deepcopy(tree)
    for path, value in changes:
        block, key = block_of(path, tree)
        if value is ABSENT:
            block.pop(key, None)
        else:
            block[key] = value
    return tree


def block_of(path, tree):
    *blocks, key = path.split(".")
    return reduce(getitem, blocks, tree), key


@pytest.fixture
def read(tmp_path):
    """Reads parameters given as a tree, as text or as bytes."""

    def write_and_read(content):
        path = tmp_path / "params.yaml"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif isinstance(content, str):
            path.write_text(content, encoding="utf-8")
        else:
            YAML(typ="safe").dump(content, path)
        return read_params(path)

    return write_and_read


@pytest.fixture
def complaint(read):
    """Returns the one-line error about bad parameters."""

    def told(content):
        with pytest.raises(ParamsError) as error:
            read(content)
        text = str(error.value)
        assert len(text.splitlines()) == 1
        return text

    return told


def test_the_shipped_file_is_read():
    params = read_params(SHIPPED)

    assert (params.data.dataset, params.data.validation_size) == ("mnist", 5000)
    assert list(params.variants) == ["batch_norm", "no_norm"]
    batch_norm = params.variants["batch_norm"]
    assert batch_norm.label == "With BN"
    assert batch_norm.parameters == {
        "normalization": "batch",
        "momentum": 0.99,
        "epsilon": 0.001,
        "center": True,
        "scale": True,
        "network": {"code": "networks/dense.py", "hidden_dims": [32, 32], "activation": "relu"},
        "training": {
            "epochs": 10,
            "batch_size": 32,
            "optimizer": {"name": "adam", "learning_rate": 0.01, "epsilon": 1e-8},
        },
    }
    assert params.comparison.confidence == 0.95
    assert params.tracking.experiment == "mnist-batch-norm"


def test_the_current_folders_file_is_read_unless_told_otherwise(project):
    (project / "params.yaml").write_text(PARAMS, encoding="utf-8")

    assert read_params() == params_of(YAML(typ="safe").load(PARAMS))


BAD_VALUES = [
    ("data.dataset", "cifar", "one of mnist, fashion_mnist, digits, file"),
    ("data.path", "my.csv", "data/raw for mnist"),
    ("data.dataset", 5, "a string"),
    ("data.validation_size", 0, "greater than or equal to 1"),
    ("data.validation_size", 60_000, "less than the 60000 training examples of mnist"),
    ("network.hidden_dims", 32, "a"),
    ("network.hidden_dims", {"a": 1}, "a"),
    ("network.activation", "rely", "'celu', 'elu',"),
    ("network.activation", None, "'celu', 'elu',"),
    ("training.epochs", 0, "greater than or equal to 1"),
    ("training.epochs", "10", "a"),
    ("training.epochs", True, "a"),
    ("training.epochs", 10.0, "a"),
    ("training.seeds", 0, "greater than or equal to 1"),
    ("training.optimizer.name", "Adam", "'adagrad', 'adam',"),
    ("training.optimizer.learning_rate", -1, "greater than 0"),
    ("training.optimizer.learning_rate", 0.0, "greater than 0"),
    ("training.optimizer.learning_rate", "0.1", "a number"),
    ("training.optimizer.learning_rate", True, "a number"),
    ("training.optimizer.learning_rate", float("nan"), "a finite number"),
    ("training.optimizer.epsilon", float("inf"), "a finite number"),
    ("training.optimizer.beta_1", 1.0, "less than 1"),
    ("training.optimizer.amsgrad", "no", "true or false"),
    (
        "variants.no_norm.normalization",
        "group",
        "one of none, batch, layer, batch_renorm, noisy_batch",
    ),
    (
        "variants.no_norm.normalization",
        ["none"],
        "one of none, batch, layer, batch_renorm, noisy_batch",
    ),
    ("variants.batch_norm.momentum", 1.5, "less than 1"),
    ("variants.batch_norm.center", 1, "true or false"),
    ("comparison.baseline", "bn", "one of batch_norm, no_norm"),
    ("comparison.candidate", "no_norm", "another variant than `baseline`"),
    ("comparison.confidence", 1.5, "less than 1"),
    ("comparison.confidence", 0, "greater than 0"),
    ("comparison.looks", "twice", "'once' or 'repeated'"),
    ("comparison.looked_at", -1, "greater than or equal to 0"),
    ("network", None, "a block of keys"),
    ("network", [1], "a block of keys"),
    ("variants", {}, "a block of keys"),
    ("variants", ["batch_norm"], "a block of keys"),
]


@pytest.mark.parametrize(("path", "value", "rule"), BAD_VALUES)
def test_a_bad_value_is_reported_with_key_rule_value_and_place(complaint, path, value, rule):
    told = complaint(changed((path, value)))

    place, _, key = path.rpartition(".")
    assert told.startswith(f"`{key}` must be {rule}")
    told, _, place_told = told.partition(f", got {'nothing' if value is None else repr(value)}")
    assert place_told.endswith(f" (params.yaml, {place or 'top level'})")


@pytest.mark.parametrize(
    ("path", "value", "meant"),
    [
        ("network.activation", "Tanh", "tanh"),
        ("network.activation", "ReLu", "relu"),
        ("training.optimizer.name", "Adam", "adam"),
    ],
)
def test_a_misspelt_choice_is_told_with_all_choices_and_the_nearest(complaint, path, value, meant):
    told = complaint(changed((path, value)))
    choices, _, hint = told.partition(", got ")
    assert f"{meant!r}" in choices
    assert "…" not in told
    assert f"{value!r}; did you mean {meant!r}? (params.yaml, " in hint


NO_NORM = TREE["variants"]["no_norm"]
LIKE_BATCH = TREE["variants"]["batch_norm"] | {"label": "Like BN"}
RENORM = LIKE_BATCH | {"normalization": "batch_renorm", "r_max": 3.0, "d_max": 0.0}
NOISY = LIKE_BATCH | {
    "normalization": "noisy_batch", "offset_max": 0.5, "factor_max": 1.0, "jitter": 0.0,
}  # fmt: skip
GHOSTS = LIKE_BATCH | {"normalization": "ghost_batch", "ghost_size": 16}


@pytest.mark.parametrize("block", [RENORM, NOISY, GHOSTS], ids=lambda block: block["normalization"])
def test_variations_of_batch_normalisation_take_its_keys_and_more(read, block):
    variant = read(changed(("variants.own", block))).variants["own"]

    own = {key: variant.parameters[key] for key in block if key != "label"}
    assert own == {key: value for key, value in block.items() if key != "label"}


@pytest.mark.parametrize(
    ("block", "key", "value", "rule"),
    [
        (RENORM, "r_max", 0.9, "greater than or equal to 1"),
        (RENORM, "d_max", -0.1, "greater than or equal to 0"),
        (RENORM, "momentum", 1.0, "less than 1"),
        (NOISY, "offset_max", -0.1, "greater than or equal to 0"),
        (NOISY, "factor_max", 0.9, "greater than or equal to 1"),
        (NOISY, "jitter", -0.1, "greater than or equal to 0"),
        (NOISY, "jitter", float("inf"), "a finite number"),
        (GHOSTS, "ghost_size", 0, "greater than or equal to 1"),
    ],
)
def test_a_normalisation_has_its_limits(complaint, block, key, value, rule):
    told = complaint(changed(("variants.own", block | {key: value})))

    assert told == f"`{key}` must be {rule}, got {value!r} (params.yaml, variants.own)"


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("network.hidden_dims", [], "`hidden_dims` * 1 item*, got [[]] (params.yaml, network)"),
        ("network.hidden_dims", [8, 0], "`hidden_dims[[]1]` * 1, got 0 (params.yaml, network)"),
        ("network.hidden_dims", [8.0], "`hidden_dims[[]0]` must *, got 8.0 (*, network)"),
        ("network.hidden_dims", ["8"], "`hidden_dims[[]0]` must *, got '8' (*, network)"),
        ("network.hidden_dims", [True], "`hidden_dims[[]0]` must *, got True (*, network)"),
        ("training.epochs", -(10**70), "`epochs` must *, got -10000*0… (params.yaml, training)"),
        ("training.batch_size", 55_001, "`batch_size` * at most the 55000 *, got 55001 (*)"),
        ("training.batch_size", 10**30, "`batch_size` * at most the 55000 *, got 1000*0 (*)"),
        ("training.optimizer", "adam", "`optimizer` must be *, got 'adam' (params.yaml, training)"),
        ("training.optimizer.name", "sgd", "*`epsilon`*: sgd takes momentum, nesterov *training*)"),
        ("training.hidden_rate", 2.0, "remove `hidden_rate`, or choose sgd: *(*.yaml, training)"),
        ("training.trainable", "all", "`trainable` must be 'normalization' or *, got 'all' (*)"),
        ("variants.own", GHOSTS | {"ghost_size": 20}, "`ghost_size` * 32, got 20 (*, *.own)"),
        ("variants.a b", NO_NORM, "*name* letters, digits*, got 'a b' (params.yaml, variants)"),
        ("variants.1st", NO_NORM, "*name* letters, digits*, got '1st' (params.yaml, variants)"),
        ("variants./tmp", NO_NORM, "*name* letters, digits*, got '/tmp' (params.yaml, variants)"),
        ("variants.no_norm", "none", "`*no_norm` must be a block of keys, got 'none' (*)"),
        ("variants.no_norm.label", "", "`label` must be *, got '' (*, variants.no_norm)"),
        ("variants.no_norm.label", "a\nb", "`label` must be *, got 'a\\nb' (*, variants.no_norm)"),
        ("variants.no_norm.label", "<b>BN", "`label` must be *, got '<b>BN' (*, variants.no_norm)"),
        ("variants.no_norm.label", "With BN", "`label` must be unique *, got 'With BN' (*)"),
        ("tracking.experiment", "", "`experiment` *1 char*, got '' (params.yaml, tracking)"),
    ],
)  # fmt: skip
def test_rules_on_lists_names_and_sizes_are_reported_too(complaint, path, value, told):
    assert fnmatchcase(complaint(changed((path, value))), told)


@pytest.mark.parametrize("other", [{"hidden_rate": 2.0}, {"weight_decay": 0.1}], ids=str)
def test_what_is_not_trained_has_neither_rate_nor_decay(complaint, other):
    training = {"trainable": "normalization", "optimizer": {"name": "sgd", "learning_rate": 1.0}}
    told = complaint(changed(("variants.batch_norm.training", training | other)))
    (key,) = other
    assert told.startswith(f"remove `{key}` or `trainable`: they do not go together (params.yaml")


@pytest.mark.parametrize(
    ("section", "override", "told"),
    [
        ("training", None, "*training` must be a block of keys, got nothing (*)"),
        ("training", {"epochs": 0}, "`epochs` must *, got 0 (*, variants.no_norm.training)"),
        ("training", {"batch_size": 60_000}, "`batch_size` must *, got 60000 (*no_norm*)"),
        ("training", {"seeds": 3}, "`seeds` cannot differ *(*, variants.no_norm.training)"),
        ("training", {"extra": 3}, "`extra` is not a known key*(*, variants.no_norm.training)"),
        ("training", {"optimizer": {"name": "sgd"}}, "`learning_rate` is missing (*no_norm*)"),
        ("network", {"hidden_dims": []}, "`hidden_dims` * 1 item*, got [[]] (*no_norm.network)"),
        ("network", {"extra": 3}, "`extra` is not a known key*(*, variants.no_norm.network)"),
    ],
)
def test_a_bad_override_is_reported_with_its_variant(complaint, section, override, told):
    assert fnmatchcase(complaint(changed((f"variants.no_norm.{section}", override))), told)


@pytest.mark.parametrize(
    ("path", "known", "place"),
    [
        ("extra", "data, network, training, variants, comparison, tracking", "top level"),
        ("data.extra", "dataset, path, validation_size, label, test_size, split_seed", "data"),
        ("training.extra", ", ".join(Training.model_fields), "training"),
        ("training.optimizer.extra", "", "training.optimizer"),
        ("variants.no_norm.extra", "label, normalization", "variants.no_norm"),
        ("variants.batch_norm.extra", "momentum, epsilon, center, scale", "variants.batch_norm"),
        (
            "comparison.extra",
            "baseline, candidate, measure, confidence, looks, looked_at",
            "comparison",
        ),
    ],
)
def test_an_unknown_key_is_reported_with_the_known_ones(complaint, path, known, place):
    told = complaint(changed((path, 1)))

    assert told.startswith(f"`{path.rpartition('.')[2]}` is not a known key")
    assert known in told
    assert told.endswith(f"(params.yaml, {place})")


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("trainingg", "training"),
        ("training.epoch", "epochs"),
        ("variants.batch_norm.momentun", "momentum"),
    ],
)
def test_a_misspelt_key_is_reported_with_the_one_that_is_like_it(complaint, path, meant):
    place, _, key = path.rpartition(".")

    told = complaint(changed((path, 1)))

    where = place or "top level"
    assert told == f"`{key}` is not a known key; did you mean {meant!r}? (params.yaml, {where})"


@pytest.mark.parametrize(
    ("path", "value", "meant"),
    [
        ("variants.batch_norm.normalization", "btach", "batch"),
        ("comparison.candidate", "nonorm", "no_norm"),
        ("data.dataset", "minst", "mnist"),
    ],
)
def test_a_misspelt_choice_is_reported_with_the_one_that_is_like_it(complaint, path, value, meant):
    assert f"got {value!r}; did you mean {meant!r}? (params.yaml" in complaint(
        changed((path, value))
    )


def test_a_key_of_another_normalization_is_to_be_removed(complaint):
    of_none = complaint(changed(("variants.no_norm.momentum", 0.9)))
    of_layer = complaint(changed(("variants.batch_norm.normalization", "layer")))

    assert of_none == (
        "remove `momentum`: `normalization: none` takes none (params.yaml, variants.no_norm)"
    )
    assert of_layer == (
        "remove `momentum`: `normalization: layer` takes epsilon, center, scale only (params.yaml, "
        "variants.batch_norm)"
    )


def test_too_large_a_batch_is_reported_where_it_is_written(complaint):
    assert complaint(changed(("training.batch_size", 60_000))).endswith("(params.yaml, training)")


def leaves_and_blocks(tree, prefix=""):
    for key, value in tree.items():
        yield f"{prefix}{key}"
        if isinstance(value, dict):
            yield from leaves_and_blocks(value, f"{prefix}{key}.")


OPTIONAL = {"training.optimizer.epsilon", "variants.batch_norm", "variants.no_norm"}
PATHS = list(leaves_and_blocks(TREE))


@pytest.mark.parametrize("path", sorted(set(PATHS) - OPTIONAL))
def test_a_missing_key_is_reported(complaint, path):
    told = complaint(changed((path, ABSENT)))

    place, _, key = path.rpartition(".")
    assert told == f"`{key}` is missing (params.yaml, {place or 'top level'})"


def test_a_missing_variant_is_reported_by_the_comparison(complaint):
    told = complaint(changed(("variants.no_norm", ABSENT)))

    assert told == "`baseline` must be one of batch_norm, got 'no_norm' (params.yaml, comparison)"


def test_the_size_of_the_data_is_that_of_the_chosen_dataset(complaint):
    told = complaint(changed(("data.dataset", "digits")))

    assert "`validation_size` must be less than the 1437 training examples of digits" in told


def own(*changes):
    """The shipped tree with a file of one's own."""
    data = {"dataset": "file", "path": "my.csv", "validation_size": 60, "split_seed": 0}
    return changed(("data", data), *changes)


def test_files_of_ones_own_take_keys_that_others_do_not(read):
    keys = {"label": "kind", "test_size": 100, "split_seed": 2**32 - 1}

    data = read(own(*((f"data.{key}", value) for key, value in keys.items()))).data

    assert data.model_dump() == own()["data"] | keys


@pytest.mark.parametrize(
    ("path", "value", "told"),
    [
        ("data.path", "data/raw", "`path` must be your file or folder, outside data/raw, *"),
        ("data.path", "./data/raw/my.csv", "`path` must be *, outside data/raw, *"),
        ("data.path", "data", "`path` must be *, outside data/raw, *, got 'data' (*)"),
        ("data.path", ".", "`path` must be *, outside data/raw, *, got '.' (*)"),
        ("data.path", "", "`path` must *, got '' (params.yaml, data)"),
        ("data.path", "a\0", "`path` must *, got 'a\\x00' (params.yaml, data)"),
        ("data.split_seed", ABSENT, "`split_seed` is missing: it decides *(params.yaml, data)"),
        ("data.split_seed", 2**32, "`split_seed` must be less than 4294967296, got 4294967296 *"),
        ("data.split_seed", -1, "`split_seed` must be *0, got -1 (params.yaml, data)"),
        ("data.test_size", 0, "`test_size` must be *1, got 0 (params.yaml, data)"),
        ("data.validation_size", ABSENT, "`validation_size` is missing (params.yaml, data)"),
    ],
)
def test_rules_for_files_of_ones_own(complaint, path, value, told):
    assert fnmatchcase(complaint(own((path, value))), told)


def test_a_link_to_the_published_files_is_no_file_of_ones_own(complaint, tmp_path):
    (tmp_path / "link").symlink_to(SHIPPED.parent / "data/raw")

    assert "outside data/raw" in complaint(own(("data.path", str(tmp_path / "link"))))


@pytest.mark.parametrize(("key", "value"), [("label", "a"), ("test_size", 1), ("split_seed", 0)])
def test_keys_for_files_of_ones_own_are_refused_elsewhere(complaint, key, value):
    told = complaint(changed((f"data.{key}", value)))

    assert told == f"remove `{key}`: it is for `dataset: file` (params.yaml, data)"


TEXT = SHIPPED.read_text(encoding="utf-8")


EPOCHS = 1 + TEXT[: TEXT.index("epochs: 10")].count("\n")


def with_epochs(text):
    return TEXT.replace("epochs: 10", f"epochs: {text}")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param("", "must be a block of keys, got nothing", id="empty"),
        pytest.param("# a comment\n", "must be a block of keys, got nothing", id="a comment alone"),
        pytest.param("- data\n- network\n", "must be a block of keys, got ['data'", id="a list"),
        pytest.param("5", "must be a block of keys, got 5", id="a number"),
        pytest.param(with_epochs("10\n  epochs: 20"), 'duplicate key "epochs"', id="a key twice"),
        pytest.param(TEXT.replace("epochs: 10", "epochs:10"), "a blank may be", id="no blank"),
        pytest.param(TEXT + "data: {}\n", 'duplicate key "data"', id="a section twice"),
        pytest.param(TEXT + "---\n" + TEXT, "another document", id="two documents"),
        pytest.param("data: [", "line 1", id="no end"),
        pytest.param(with_epochs("10\n\tbatch: 5"), f"line {EPOCHS + 1}", id="a tab"),
        pytest.param(with_epochs("*ten"), "undefined alias", id="an unknown alias"),
        pytest.param(with_epochs("!ten 10"), "'!ten'", id="an unknown tag"),
        pytest.param(with_epochs("!!int ten"), "'ten'", id="no number"),
        pytest.param(with_epochs("2024-13-45"), "month", id="no date"),
        pytest.param(with_epochs("9" * 5000), "more than 300 digits", id="a number of 5000 digits"),
        pytest.param(with_epochs("&a [*a]"), "5000 values", id="a list within itself"),
        pytest.param(with_epochs("[" * 600 + "]" * 600), "recursion", id="deep lists"),
        pytest.param(with_epochs("{a: " * 100 + "1" + "}" * 100), "got {'a': {'a'", id="deep"),
        pytest.param(TEXT.encode() + b"\xff", "is not text in UTF-8", id="not UTF-8"),
        pytest.param(TEXT.encode("utf-16"), "is not text in UTF-8", id="UTF-16"),
        pytest.param(TEXT + "\x00", "not YAML", id="a zero byte"),
        pytest.param(with_epochs("!!bool maybe"), "is not YAML", id="no boolean"),
        pytest.param(with_epochs('!!int ""'), "params.yaml", id="an empty number"),
        pytest.param(
            TEXT.replace("activation: relu", f"activation: 0x{'f' * 5000}"),
            "more than 300 digits",
            id="5000 hexadecimal digits",
        ),
        pytest.param(
            TEXT.replace("\n  - 32\n  - 32\n", " !!set {16, 32}\n"),
            "`hidden_dims` must be",
            id="a set has no order",
        ),
        pytest.param(
            TEXT + '"two\\nlines": 1\n',
            "not a known key",
            id="a key of two lines",
        ),
    ],
)  # fmt: skip
def test_a_file_that_is_not_params_is_reported(complaint, content, reason):
    assert reason in complaint(content)


def test_a_missing_file_says_where_to_run(tmp_path):
    with pytest.raises(ParamsError, match=r"params\.yaml is not here: run from the project's root"):
        read_params(tmp_path / "params.yaml")


def test_a_folder_in_place_of_the_file_is_reported(tmp_path):
    with pytest.raises(ParamsError, match=r"cannot be read: .*Is a directory"):
        read_params(tmp_path)


def test_an_override_is_for_its_variant_alone(read):
    params = read(
        changed(
            ("variants.no_norm.network", {"activation": "tanh"}),
            ("variants.no_norm.training", {"epochs": 3, "optimizer": {"learning_rate": 0.5}}),
        )
    )

    own, other = params.variants["no_norm"], params.variants["batch_norm"]
    assert own.network.model_dump(exclude_none=True) == {
        "code": "networks/dense.py",
        "hidden_dims": [32, 32],
        "activation": "tanh",
    }
    assert (own.training.epochs, own.training.batch_size) == (3, 32)
    assert own.training.optimizer.arguments == {"learning_rate": 0.5, "epsilon": 1e-8}
    assert own.training.optimizer.name == "adam"
    assert (other.network, other.training) == (params.network, params.training)


def test_an_override_that_names_an_optimizer_replaces_the_block(read):
    optimizer = {"name": "sgd", "learning_rate": 0.1, "momentum": 0.9}

    params = read(changed(("variants.no_norm.training", {"optimizer": optimizer})))

    chosen = params.variants["no_norm"].training.optimizer
    assert chosen.name == "sgd"
    assert chosen.arguments == {"learning_rate": 0.1, "momentum": 0.9}


def test_an_override_that_names_the_same_optimizer_keeps_the_rest_of_the_block(read):
    params = read(changed(("variants.no_norm.training", {"optimizer": {"name": "adam"}})))

    chosen = params.variants["no_norm"].training.optimizer
    assert chosen.arguments == {"learning_rate": 0.01, "epsilon": 1e-8}


KEYS = st.text("abc_ -é`", max_size=4) | st.integers() | st.none() | st.booleans()
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**20)
    | st.floats()
    | st.text(max_size=5)
    | st.dates()
    | st.binary(max_size=3)
    | st.sampled_from(
        ["none", "batch", "adam", "sgd", "relu", "mnist", "digits", "file", "no_norm"]
    ),
    lambda children: (
        st.lists(children, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "epochs", "optimizer"]) | KEYS, children, max_size=3
        )
    ),
    max_leaves=4,
)


@pytest.mark.slow
@given(
    changes=st.dictionaries(
        st.sampled_from([*PATHS, "variants.no_norm.training", "variants.no_norm.network"]),
        st.just(ABSENT) | VALUES,
        min_size=1,
        max_size=3,
    ),
    beside=st.sampled_from(PATHS),
    extra=st.dictionaries(KEYS, VALUES, max_size=1),
)
@settings(
    max_examples=200,
    derandomize=True,
    database=None,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_other_tree_is_valid_or_reported_in_one_line(read, changes, beside, extra):
    tree = copy.deepcopy(TREE)
    block_of(beside, tree)[0].update(extra)
    # The content of a block is changed before the block itself.
    inside_out = sorted(changes.items(), key=lambda change: -change[0].count("."))
    text = io.StringIO()
    YAML(typ="safe").dump(changed(*inside_out, tree=tree), text)

    told = None
    try:
        params = read(text.getvalue())
    except ParamsError as error:
        told = str(error)

    assert len(told.splitlines()) == 1 if told else isinstance(params, Params)
