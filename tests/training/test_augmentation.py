import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.errors import ParamsError
from pipeline.params import Augmentation, Optimizer
from pipeline.training.augmentation import affine_transform, augmented
from pipeline.training.network import build, first_noise
from pipeline.training.normalization import BatchNorm, NoNorm
from pipeline.training.solver import Solver
from tests.networks import dense, training_with

pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 8, 8), np.uint8)
LABELS = np.arange(6, dtype=np.uint8) % 3
LAYERS = {
    "RandomBrightness": {"factor": 0.2},
    "RandomContrast": {"factor": 0.2},
    "RandomErasing": {"factor": 1.0},
    "RandomFlip": {"mode": "horizontal"},
    "RandomInvert": {"factor": 0.5},
    "RandomPosterization": {"factor": 3},
    "RandomRotation": {"factor": 0.1},
    "RandomShear": {"x_factor": 0.2},
    "RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2, "fill_mode": "constant"},
    "RandomZoom": {"height_factor": 0.2},
}


def model_of(shape=(8, 8), normalization=None):
    # Of some networks no hidden unit is active, and their logits say nothing.
    keras.utils.set_random_seed(0)
    network = dense(hidden_dims=[4], activation="relu")
    return build(network, normalization or NoNorm(), shape=shape, classes=3)


def logits(learner, seed, *, training=True):
    """Returns the logits of all images, with the noise that a seed's run draws first."""
    noise = first_noise(learner, seed)
    given = [
        noise.get(variable.path, variable.numpy()) for variable in learner.non_trainable_variables
    ]

    @tf.function(jit_compile=True, autograph=False)
    def of(images):
        weights = [variable.value for variable in learner.trainable_variables]
        return learner.stateless_call(weights, given, images, training=training)[0]

    return of(IMAGES).numpy()


def test_each_layer_that_may_be_named_is_tried():
    names = Augmentation.model_fields["layer"].annotation.__args__
    assert set(LAYERS) == set(names)


@pytest.mark.parametrize("name", LAYERS)
def test_images_are_changed_in_training_by_the_runs_seed_alone(name):
    model = model_of()
    learner = augmented(model, [Augmentation(layer=name, **LAYERS[name])])
    first, again, other = (logits(learner, seed) for seed in (3, 3, 4))
    assert first.tobytes() == again.tobytes()
    assert (first != other).any()
    plain = logits(model, 3)
    assert (first != plain).any()
    np.testing.assert_array_equal(logits(learner, 3, training=False), plain)


def test_the_weights_are_those_of_the_model_in_its_order():
    model = model_of(normalization=BatchNorm(momentum=0.9, epsilon=0.1, center=True, scale=True))
    learner = augmented(model, [Augmentation(layer="RandomFlip")])
    assert [one.path for one in learner.trainable_variables] == [
        one.path for one in model.trainable_variables
    ]
    assert {one.path for one in model.non_trainable_variables} < {
        one.path for one in learner.non_trainable_variables
    }


def test_without_chance_the_images_stay_as_they_are():
    model = model_of()
    still = Augmentation(layer="RandomTranslation", height_factor=0.0, width_factor=0.0)
    np.testing.assert_array_equal(logits(augmented(model, [still]), 1), logits(model, 1))


def test_a_run_learns_from_changed_images_and_is_scored_on_them_as_they_are():
    training = training_with(Optimizer(name="sgd", learning_rate=0.1))
    flipping = training.model_copy(update={"augmentation": [Augmentation(layer="RandomFlip")]})
    model, trained = model_of(), []
    for settings in (training, flipping):
        solver = Solver(model, settings)
        state = solver.start(1)
        scores = solver.evaluate(solver.weights(state), IMAGES, LABELS)
        batches = np.arange(6, dtype=np.int32).reshape(2, 3)
        solver.train_epoch(state, IMAGES, LABELS, batches, np.float32([0.1, 0.1]))
        trained.append((scores, solver.weights(state)[0].numpy()))
    (plain_scores, plain), (scores, kernel) = trained
    assert scores == plain_scores
    assert (kernel != plain).any()


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize("fill_mode", ["constant", "nearest", "wrap", "reflect"])
def test_a_transform_is_that_of_keras(interpolation, fill_mode):
    images = RNG.random((5, 7, 9, 2), np.float32)
    straight, spread = [1, 0, 0, 0, 1, 0, 0, 0], [0.3, 0.3, 4, 0.3, 0.3, 4, 0, 0]
    transforms = np.float32(straight + RNG.normal(size=(5, 8)) * spread)
    arguments = (images, transforms, interpolation, fill_mode, 0.5)
    compiled = tf.function(affine_transform, jit_compile=True, autograph=False)
    np.testing.assert_allclose(
        compiled(*arguments), keras.ops.image.affine_transform(*arguments), atol=1e-5
    )


def moved(images, across, fill_mode, interpolation="nearest"):
    """Returns images of which each pixel shows what was so many to its right and below."""
    transforms = np.float32([[1, 0, x, 0, 1, y, 0, 0] for x, y in across])
    compiled = tf.function(affine_transform, jit_compile=True, autograph=False)
    return transforms, compiled(images, transforms, interpolation, fill_mode, 0.5).numpy()


@pytest.mark.parametrize("fill_mode", ["constant", "nearest", "wrap", "reflect"])
def test_images_that_are_not_moved_stay_to_their_edges(fill_mode):
    images = RNG.random((1, 4, 5, 2), np.float32)
    for interpolation in ("nearest", "bilinear"):
        found = moved(images, [(0, 0)], fill_mode, interpolation)[1]
        np.testing.assert_array_equal(found, images)


@pytest.mark.parametrize("mode", ["symmetric", "edge", "constant"])
def test_whole_pixels_beyond_the_edges_are_those_that_numpy_pads_with(mode):
    images, across = RNG.random((4, 4, 5, 2), np.float32), [(1, 0), (-2, 1), (0, -3), (4, 3)]
    fill = {"symmetric": "reflect", "edge": "nearest", "constant": "constant"}[mode]
    value = {"constant_values": 0.5} if mode == "constant" else {}
    padded = np.pad(images, [(0, 0), (4, 4), (4, 4), (0, 0)], mode, **value)
    expected = [
        image[4 + y : 8 + y, 4 + x : 9 + x] for image, (x, y) in zip(padded, across, strict=True)
    ]
    np.testing.assert_array_equal(moved(images, across, fill)[1], expected)


@pytest.mark.parametrize("size", [(4, 5), (1, 2), (2, 1), (1, 1)], ids=str)
def test_pixels_far_beyond_the_edges_wrap_as_those_of_keras(size):
    across = [(1, 1), (-1, 0), (9, 7), (13, -13), (-22, 22)]
    images = RNG.random((5, *size, 2), np.float32)
    transforms, found = moved(images, across, "wrap")
    expected = keras.ops.image.affine_transform(images, transforms, "nearest", "wrap")
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"layer": "RandomFlip", "modes": "horizontal"}, "RandomFlip: .*modes"),
        ({"layer": "RandomRotation"}, "RandomRotation: .*factor"),
    ],
)
def test_an_argument_that_a_layer_does_not_take_is_named(settings, told):
    with pytest.raises(ParamsError, match=told):
        augmented(model_of(), [Augmentation(**settings)])
