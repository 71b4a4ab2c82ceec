import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn import metrics

from pipeline.errors import ParamsError
from pipeline.examples.dataset import Dataset, Examples
from pipeline.params import Optimizer, Training
from pipeline.studies.measures import probes
from pipeline.studies.measures.gradients import Gradients, stepped
from pipeline.studies.measures.probes import PROBES, Trained
from pipeline.training import network
from pipeline.training.network_file import network_class
from pipeline.training.normalization import BatchNorm, NoNorm
from tests.networks import DENSE, dense

IMAGES = np.random.default_rng(0).integers(0, 256, (5000, 3, 3), np.uint8)
LABELS = np.random.default_rng(1).integers(0, 3, 5000).astype(np.uint8)
ALL, FEW = Examples(IMAGES, LABELS), Examples(IMAGES[:200], LABELS[:200])
BATCH_NORM = BatchNorm(momentum=0.9, epsilon=0.001, center=True, scale=True)
RATE, BATCH = 0.3, 20
NETWORKS = Path(DENSE).parent


def trained(built, weights, test=FEW):
    optimizer = Optimizer(name="sgd", learning_rate=RATE)
    training = Training(epochs=1, batch_size=BATCH, optimizer=optimizer, seeds=1)
    return Trained(built, weights, Dataset(FEW, FEW, test, tuple("abc")), training)


def model(normalization):
    return network.build(
        dense(hidden_dims=(6, 4), activation="relu"), normalization, shape=(3, 3), classes=3
    )


def with_dead_units(built):
    """Returns weights whose biases silence three of the ten units, whatever the image."""
    weights = {
        v.path: w for v, w in zip(built.weights, network.first_weights(built, 1), strict=True)
    }
    weights["dense_0/bias"] = np.array([-99, 1, 1, -99, 1, 1], np.float32)
    weights["dense_1/bias"] = np.array([1, 1, -99, 1], np.float32)
    return list(weights.values())


def test_units_that_are_0_for_every_image_are_dead():
    built = model(NoNorm())
    weights = with_dead_units(built)

    share = PROBES["dead_units"].measure(trained(built, weights, ALL))["dead_units"]

    # In NumPy, all images at once.
    units, dead = IMAGES.reshape(-1, 9) / 255, []
    for kernel, bias in ((weights[0], weights[1]), (weights[2], weights[3])):
        units = np.maximum(units @ kernel + bias, 0)
        dead += (units == 0).all(axis=0).tolist()
    assert sum(dead) >= 3
    assert share == pytest.approx(np.mean(dead))


def test_test_scores_are_those_of_the_networks_probabilities():
    built = model(NoNorm())
    weights = network.first_weights(built, 1)

    measured = PROBES["test_scores"].measure(trained(built, weights, ALL))

    # In NumPy, all images at once.
    units = IMAGES.reshape(-1, 9) / 255
    for kernel, bias in ((weights[0], weights[1]), (weights[2], weights[3])):
        units = np.maximum(units @ kernel + bias, 0)
    shares = np.exp(units @ weights[4] + weights[5])
    shares /= shares.sum(axis=1, keepdims=True)
    found = shares.argmax(axis=1)
    f1, area = metrics.f1_score, metrics.roc_auc_score
    assert measured["test_macro_f1"] == pytest.approx(f1(LABELS, found, average="macro"), abs=1e-3)
    expected = area(LABELS, shares, multi_class="ovr")
    assert measured["test_roc_auc"] == pytest.approx(expected, abs=1e-4)
    assert 0 < measured["test_expected_calibration_error"] < 1


@pytest.mark.slow
@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_a_probe_does_not_change_the_shared_model(probe):
    built = model(BATCH_NORM)
    before = [weight.copy() for weight in built.get_weights()]

    measured = probe.measure(trained(built, network.first_weights(built, 3)))

    assert tuple(measured) == probe.measures

    for weight, same in zip(built.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, same)


@pytest.mark.slow
def test_accuracy_under_attack_is_the_share_of_margins_that_are_wide_enough(monkeypatch):
    # A linear model of two classes has logits w·x and -w·x. An attack in the maximum norm lowers
    # them by its distance times the 1-norm of w.
    slopes, far = np.random.default_rng(1).normal(size=9).astype(np.float32), 0.05
    images = np.random.default_rng(5).integers(80, 170, (3000, 3, 3)).astype(np.uint8)
    sums = images.reshape(-1, 9) / 255 @ slopes
    # The bias puts the border between the classes among the images.
    bias = np.array([-sums.mean(), sums.mean()], np.float32)
    labels = (sums < sums.mean()).astype(np.uint8)
    dims = dense(hidden_dims=(9,), activation="linear")
    built = network.build(dims, NoNorm(), shape=(3, 3), classes=2)
    weights = [np.eye(9, dtype=np.float32), np.zeros(9, np.float32), np.stack([slopes, -slopes], 1)]
    monkeypatch.setattr(probes, "DISTANCES", (far,))

    network_and_data = trained(built, [*weights, bias], Examples(images, labels))
    measured = PROBES["robustness"].measure(network_and_data)

    kept = np.mean(np.abs(sums - sums.mean()) > far * np.abs(slopes).sum())
    assert 0.1 < kept < 0.9
    assert measured["fgsm_0.05_accuracy"] == pytest.approx(kept, abs=2e-3)
    assert measured["pgd_0.05_accuracy"] == pytest.approx(kept, abs=2e-3)
    assert measured["noise_0.1_accuracy"] > measured["noise_0.4_accuracy"] > 0.5


def test_gamma_and_beta_can_make_batch_normalisation_the_identity():
    built = model(BATCH_NORM)
    weights = [np.abs(weight) + 0.1 for weight in network.first_weights(built, 0)]

    assert PROBES["undone"].measure(trained(built, weights, ALL))["identity_error"] < 1e-6


def test_a_network_without_the_layer_has_nothing_to_undo():
    built = model(NoNorm())

    measured = PROBES["undone"].measure(trained(built, built.get_weights()))
    assert measured == {"identity_error": 0.0}


def test_percentiles_are_those_of_each_unit_after_normalisation():
    built = model(BATCH_NORM)
    weights = {
        one.path: value
        for one, value in zip(built.weights, network.first_weights(built, 1), strict=True)
    }
    weights["norm_1/gamma"] = np.array([1, 2, 3, -1], np.float32)
    weights["norm_1/moving_mean"] = np.array([0.5, 0, -1, 0], np.float32)

    measured = PROBES["percentiles"].measure(trained(built, list(weights.values()), ALL))

    # In NumPy, with the moving statistics: those of the first layer are 0 and 1.
    x = IMAGES.reshape(-1, 9) / 255
    hidden = np.maximum((x @ weights["dense_0/kernel"]) / np.sqrt(1.001), 0)
    inputs = hidden @ weights["dense_1/kernel"] - weights["norm_1/moving_mean"]
    inputs *= weights["norm_1/gamma"] / np.sqrt(1.001)
    for share in (15, 50, 85):
        expected = np.percentile(inputs, share, axis=0)
        np.testing.assert_allclose(measured[f"percentile_{share}"], expected, atol=1e-5)


def linear(depth=1):
    """Makes linear layers without normalisation, and a tenth of their initial weights."""
    dims = dense(hidden_dims=(4,) * depth, activation="linear")
    built = network.build(dims, NoNorm(), shape=(3, 3), classes=3)
    return trained(built, [one / 10 for one in network.first_weights(built, 2)])


def batches():
    for start in range(0, 200, BATCH):
        yield IMAGES[start : start + BATCH].reshape(-1, 9) / 255, LABELS[start : start + BATCH]


def by_hand(x, labels, weights):
    """Returns loss and gradients of two linear layers, computed in float64."""
    kernel, bias, upper, upper_bias = (np.asarray(one, np.float64) for one in weights)
    hidden = x @ kernel + bias
    logits = hidden @ upper + upper_bias
    shares = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    error = (shares - np.eye(3)[labels]) / len(x)
    below = error @ upper.T
    loss = -np.log(shares[np.arange(len(x)), labels]).mean()
    return loss, [x.T @ below, below.sum(0), hidden.T @ error, error.sum(0)]


def test_a_layers_gradient_shifts_by_what_the_layer_below_it_learnt():
    one = linear()

    measured = PROBES["covariate_shift"].measure(one)

    shifts, cosines = [], []
    for batch in batches():
        _, before = by_hand(*batch, one.weights)
        below = [w - RATE * g for w, g in zip(one.weights[:2], before[:2], strict=True)]
        _, after = by_hand(*batch, [*below, *one.weights[2:]])
        a, b = before[2], after[2]
        shifts.append(np.linalg.norm(a - b))
        cosines.append((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
    assert measured["output_shift"] == pytest.approx(np.mean(shifts), rel=1e-3)
    assert measured["output_cosine"] == pytest.approx(np.mean(cosines), abs=1e-4)
    # There is no second hidden layer.
    assert np.isnan(measured["hidden_shift"])


def test_the_first_hidden_layer_has_no_layer_below():
    one = linear(depth=2)

    measured = PROBES["covariate_shift"].measure(one)

    at = Gradients(one.model, one.weights)
    shifts = []
    for start in range(0, 200, BATCH):
        batch = IMAGES[start : start + BATCH], LABELS[start : start + BATCH]
        _, before = at(at.weights, *batch)
        # The second kernel, after a step of the first layer's kernel and bias.
        moved = stepped(at.weights[:2], before[:2], RATE) + at.weights[2:]
        _, after = at(moved, *batch)
        shifts.append(np.linalg.norm(after[2] - before[2]))
    assert measured["hidden_shift"] == pytest.approx(np.mean(shifts), rel=1e-5)


def test_the_landscape_is_that_of_the_steps_along_the_gradient():
    one = linear()

    measured = PROBES["landscape"].measure(one)

    ranges, changes, smoothness = [], [], []
    for batch in batches():
        _, here = by_hand(*batch, one.weights)
        flat = np.concatenate([np.ravel(g) for g in here])
        losses, apart = [], []
        for steps in np.arange(0.5, 4.1, 0.5):
            moved = [w - steps * RATE * g for w, g in zip(one.weights, here, strict=True)]
            loss, there = by_hand(*batch, moved)
            losses.append(loss)
            apart.append(np.linalg.norm(np.concatenate([np.ravel(g) for g in there]) - flat))
        ranges.append(np.ptp(losses))
        changes.append(max(apart))
        distances = np.arange(0.5, 4.1, 0.5) * RATE * np.linalg.norm(flat)
        smoothness.append(max(apart / distances))
    assert measured["loss_range"] == pytest.approx(np.mean(ranges), rel=1e-3)
    assert measured["gradient_change"] == pytest.approx(np.mean(changes), rel=1e-3)
    assert measured["effective_beta"] == pytest.approx(np.mean(smoothness), rel=1e-3)


def weights_of(built, seed=1, **changed):
    weights = {
        one.path: value
        for one, value in zip(built.weights, network.first_weights(built, seed), strict=True)
    }
    return weights | {name.replace("__", "/"): np.float32(value) for name, value in changed.items()}


def batch_forward(weights, images):
    """Returns the inputs of both normalisations, and the last hidden units, in training mode."""
    units, before = images.reshape(len(images), -1) / 255, []
    for layer in (0, 1):
        units = units @ weights[f"dense_{layer}/kernel"] + weights[f"dense_{layer}/bias"]
        before.append(units)
        units = (units - units.mean(0)) / np.sqrt(units.var(0) + 0.001)
        gamma, beta = (weights[f"norm_{layer}/{name}"] for name in ("gamma", "beta"))
        units = np.maximum(units * gamma + beta, 0)
    return before, units


def test_gradients_grow_as_the_kernels_of_a_linear_network_say():
    dims = dense(hidden_dims=(2,) * 6, activation="linear")
    built = network.build(dims, NoNorm(), shape=(3, 3), classes=3)
    weights = weights_of(built)
    for layer in range(1, 6):
        weights[f"dense_{layer}/kernel"] = np.float32([[0, 2], [2, 0]])

    measured = PROBES["gradient_growth"].measure(trained(built, list(weights.values())))

    # On its way down the error doubles at each layer, as the signal does on its way up: the
    # gradients of all kernels, products of both, are equally long.
    assert measured["gradient_growth"] == pytest.approx(1, rel=1e-4)


def test_the_rank_is_that_of_the_last_hidden_layer_by_the_statistics_of_the_batch():
    built = model(BATCH_NORM)
    weights = weights_of(built)

    measured = PROBES["rank"].measure(trained(built, list(weights.values())))

    ranks = []
    for start in range(0, 200, BATCH):
        _, units = batch_forward(weights, IMAGES[start : start + BATCH])
        values = np.linalg.svd(units, compute_uv=False)
        ranks.append((values**2).sum() / values[0] ** 2)
    assert measured["stable_rank"] == pytest.approx(np.mean(ranks), rel=1e-3)


def test_gammas_are_small_below_a_hundredth():
    built = model(BATCH_NORM)
    weights = weights_of(
        built, norm_0__gamma=[1, 0.011, -0.009, 0.005, -2, 3], norm_1__gamma=[0, 1, 1, 1]
    )
    measured = PROBES["small_gammas"].measure(trained(built, list(weights.values())))
    assert measured["small_gammas"] == pytest.approx(0.3)
    without = model(NoNorm())
    measured = PROBES["small_gammas"].measure(trained(without, without.get_weights()))
    assert np.isnan(measured["small_gammas"])


def test_the_effective_rate_is_the_rate_over_the_squared_norm_of_hidden_kernels():
    built = model(NoNorm())
    weights = weights_of(built)

    measured = PROBES["kernel_norms"].measure(trained(built, list(weights.values())))

    squared = [np.linalg.norm(weights[f"dense_{layer}/kernel"]) ** 2 for layer in (0, 1)]
    assert measured["squared_norm"] == pytest.approx(np.mean(squared))
    assert measured["effective_rate"] == pytest.approx(np.mean(RATE / np.array(squared)))


def test_the_variance_ratio_is_of_the_larger_over_the_smaller():
    built = model(BATCH_NORM)
    first = np.var(IMAGES.reshape(-1, 9) / 255 @ weights_of(built)["dense_0/kernel"], axis=0)
    # Half of what is found, a third, twice, four times, and a unit that never changed.
    factors = np.array([0.5, 1 / 3, 2, 4, 1, 0])
    weights = weights_of(built, norm_0__moving_variance=first * factors)
    x = IMAGES.reshape(-1, 9) / 255 @ weights["dense_0/kernel"]
    hidden = np.maximum(x / np.sqrt(weights["norm_0/moving_variance"] + 0.001), 0)
    second = np.var(hidden @ weights["dense_1/kernel"], axis=0)
    weights["norm_1/moving_variance"] = (second * 3).astype(np.float32)

    measured = PROBES["variance_shift"].measure(trained(built, list(weights.values()), ALL))

    assert measured["variance_ratio"] == pytest.approx((np.mean([2, 3, 2, 4, 1]) + 3) / 2, rel=1e-3)
    without = model(NoNorm())
    measured = PROBES["variance_shift"].measure(trained(without, without.get_weights()))
    assert np.isnan(measured["variance_ratio"])


def test_statistics_of_the_whole_set_are_those_of_its_batches_together():
    built = model(BATCH_NORM)
    weights = weights_of(built, norm_0__moving_mean=[9] * 6)
    one = trained(built, list(weights.values()), ALL)

    measured = PROBES["whole_set_statistics"].measure(one)

    units = [[], []]
    for start in range(0, 200, BATCH):
        before, _ = batch_forward(weights, IMAGES[start : start + BATCH])
        for layer in (0, 1):
            units[layer].append(before[layer])
    for layer in (0, 1):
        together = np.concatenate(units[layer])
        weights[f"norm_{layer}/moving_mean"] = together.mean(0)
        weights[f"norm_{layer}/moving_variance"] = together.var(0)
    x = IMAGES.reshape(-1, 9) / 255
    for layer in (0, 1):
        x = x @ weights[f"dense_{layer}/kernel"] - weights[f"norm_{layer}/moving_mean"]
        x = np.maximum(x / np.sqrt(weights[f"norm_{layer}/moving_variance"] + 0.001), 0)
    found = (x @ weights["logits/kernel"]).argmax(axis=1)
    assert measured["whole_set_accuracy"] == pytest.approx(np.mean(found == LABELS), abs=1e-3)
    assert measured["whole_set_gain"] == measured["whole_set_accuracy"] - one.accuracy()
    assert measured["whole_set_gain"] != 0


def test_units_are_switched_off_until_the_bias_alone_is_left(monkeypatch):
    # One unit that answers right for each class; without it the last bias says class 2.
    monkeypatch.setattr(probes, "_ORDERS", 50)
    images = np.zeros((300, 3, 3), np.uint8)
    labels = np.arange(300, dtype=np.uint8) % 2
    images[np.arange(300), labels, 0] = 255
    dims = dense(hidden_dims=(2,), activation="relu")
    built = network.build(dims, NoNorm(), shape=(3, 3), classes=3)
    kernel = np.zeros((9, 2), np.float32)
    kernel[0, 0] = kernel[3, 1] = 1
    weights = [kernel, np.zeros(2), 9 * np.eye(2, 3), np.array([0, 0, 1])]
    one = trained(built, [np.float32(each) for each in weights], Examples(images, labels))
    assert one.accuracy() == 1

    measured = PROBES["switched_off"].measure(one)

    # With none, one and both of two units off, 1, a half and 0 are right; NumPy rounds half to
    # even, so that none is off up to 2 tenths, one from 3 to 7, and both from 8.
    by_tenths = [1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.5, 0, 0, 0]
    assert measured["ablation_area"] == pytest.approx(np.trapezoid(by_tenths) / 10)


def of_file(path, **fields):
    chosen = network_class(str(path))(code=str(path), **fields)
    built = network.build(chosen, BATCH_NORM, shape=(3, 3), classes=3)
    return trained(built, network.first_weights(built, 1))


CONV = {"filters": [2], "kernel_size": 2, "units": 3, "activation": "relu", "dropout": 0.0}
RESIDUAL = {
    "depth": 2, "width": 4, "activation": "relu", "initializer": "he_normal", "skip": "zero",
}  # fmt: skip
# Activations are part of layers, and nothing is normalised.
PLAIN = """\
import keras
from pipeline.params import Network


class Plain(Network):
    def hidden(self, inputs, normalize):
        return keras.layers.Dense(3, activation="relu")(keras.layers.Flatten()(inputs))
"""


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Networks by name, each unlike the dense one in its own way."""
    plain = tmp_path_factory.mktemp("networks") / "plain.py"
    plain.write_text(PLAIN)
    features = Examples(IMAGES.reshape(-1, 9).astype(np.float32)[:200], LABELS[:200])
    built = network.build(
        dense(hidden_dims=(6,), activation="relu"),
        NoNorm(),
        shape=(9,),
        classes=3,
        moments=network.moments_of(features.inputs),
    )
    of_features = dataclasses.replace(
        trained(built, network.first_weights(built, 1)),
        dataset=Dataset(features, features, features, tuple("abc"), tuple("abcdefghi")),
    )
    return {
        "conv": of_file(NETWORKS / "conv.py", **CONV),
        "plain": of_file(plain),
        "residual": of_file(NETWORKS / "deep.py", **RESIDUAL),
        "features": of_features,
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", PROBES)
def test_a_probe_measures_any_network_or_refuses_it_by_name(networks, name):
    refused = {
        "conv": {"gradient_growth", "switched_off"},
        "plain": {"dead_units", "gradient_growth", "percentiles", "rank"},
        "residual": {"gradient_growth", "switched_off"},
        "features": {"gradient_growth", "robustness"},
    }
    for kind, one in networks.items():
        if name in refused[kind]:
            with pytest.raises(ParamsError, match=f"^the probe `{name}` is for .*: remove it"):
                probes.expect_measurable([name], one.model, one.dataset)
        else:
            probes.expect_measurable([name], one.model, one.dataset)
            measured = PROBES[name].measure(one)
            assert tuple(measured) == PROBES[name].measures


def test_convolutions_too_can_be_undone():
    one, rng = of_file(NETWORKS / "conv.py", **CONV | {"filters": [32]}), np.random.default_rng(0)
    # Statistics that differ from unit to unit.
    other = [np.float32(rng.uniform(0.1, 2, weight.shape)) for weight in one.weights]
    assert 0 < PROBES["undone"].measure(one.with_weights(other))["identity_error"] < 1e-6
