import keras
import numpy as np
import pytest

from pipeline.errors import ParamsError
from pipeline.examples.dataset import Dataset, Examples
from pipeline.params import Augmentation, EarlyStopping, Optimizer, Variant
from pipeline.params import Training as TrainingParams
from pipeline.training.batches import epoch_batches
from pipeline.training.network import build
from pipeline.training.normalization import BatchNorm, BatchRenorm, NoisyBatch, NoNorm
from pipeline.training.solver import Solver
from pipeline.training.trainer import Hooks, Task, Trainer
from pipeline.training.workers import worker_pool
from tests.networks import dense

pytestmark = pytest.mark.slow


class Told(Hooks):
    """Keeps what it is told of each epoch."""

    def __init__(self, told):
        self.tell = told.append


def examples(rng, count):
    labels = rng.integers(0, 3, count).astype(np.uint8)
    return Examples(rng.integers(0, 256, (count, 3, 3), np.uint8), labels)


def variant(normalization, **optimizer):
    return Variant(
        label=normalization.kind.replace("_", " "),
        normalization=normalization,
        network=dense(hidden_dims=(4,), activation="relu"),
        training=TrainingParams(
            epochs=2,
            batch_size=5,
            optimizer=Optimizer(**{"name": "adam", "learning_rate": 0.05} | optimizer),
            seeds=3,
        ),
    )


def with_training(one, **settings):
    return one.model_copy(update={"training": one.training.model_copy(update=settings)})


def slower(one):
    return with_training(one, optimizer=Optimizer(name="adam", learning_rate=0.001))


LIKE_BATCH = {"momentum": 0.9, "epsilon": 0.001, "center": True, "scale": True}
BATCH_NORM = variant(BatchNorm(**LIKE_BATCH))
NO_NORM = variant(NoNorm())
RENORM = variant(BatchRenorm(**LIKE_BATCH, r_max=3.0, d_max=5.0))
NOISY = variant(NoisyBatch(**LIKE_BATCH, offset_max=0.5, factor_max=1.25, jitter=0.1))
VARIANTS = {one.label: one for one in (BATCH_NORM, NO_NORM, RENORM, NOISY)}


@pytest.fixture(scope="module")
def dataset():
    rng = np.random.default_rng(0)
    return Dataset(examples(rng, 23), examples(rng, 9), examples(rng, 7), ("a", "b", "c"))


@pytest.fixture(scope="module")
def make_trainer(dataset):
    """Makes trainers that share what they compile, which takes most of their time."""
    compiled = {}

    def make(hooks=None):
        trainer = Trainer(dataset, hooks)
        trainer._solvers = compiled
        return trainer

    return make


@pytest.fixture(scope="module")
def trained(make_trainer):
    """What training one seed after the other gives: runs and what was told, by variant."""
    given = {}
    for one in VARIANTS.values():
        told = []
        given[one.label] = (
            in_turn(make_trainer(Told(told)), one),
            told,
        )
    return given


def in_turn(trainer, one):
    return [trainer(Task(one, seed)) for seed in range(3)]


def assert_same_run(run, expected):
    assert run.seed == expected.seed
    assert run.history == expected.history
    assert run.architecture == expected.architecture
    for weight, same in zip(run.weights, expected.weights, strict=True):
        np.testing.assert_array_equal(weight, same)


@pytest.mark.parametrize("threads", [1, 2], ids=["1 thread", "2 threads"])
@pytest.mark.parametrize("one", [BATCH_NORM, NOISY], ids=lambda one: one.label)
def test_runs_do_not_depend_on_the_number_of_threads(dataset, make_trainer, trained, threads, one):
    told = []
    # Two threads may compile at once.
    trainer = Trainer(dataset, Told(told)) if threads == 2 else make_trainer(Told(told))
    with worker_pool(threads) as pool:
        runs = pool.map(trainer, [Task(one, seed) for seed in range(3)], chunksize=1)
    expected, told_in_turn = trained[one.label]
    for run, same in zip(runs, expected, strict=True):
        assert_same_run(run, same)
    assert sorted(told, key=lambda at: (at.seed, at.epoch)) == told_in_turn


def test_a_run_depends_on_nothing_that_its_thread_trained_before(dataset, trained):
    train = Trainer(dataset)
    train(Task(NO_NORM, seed=1))
    # It compiles to the same as the next; its learning rate is not the next one's.
    train(Task(slower(BATCH_NORM), seed=1))
    assert_same_run(train(Task(BATCH_NORM, seed=2)), trained["batch"][0][2])


@pytest.mark.parametrize(
    "other",
    [
        variant(BatchNorm(**LIKE_BATCH | {"momentum": 0.5})),
        variant(NoNorm(), beta_1=0.5),
        variant(NoNorm(), epsilon=0.1),
        variant(NoNorm(), learning_rate=0.01),
    ],
    ids=["momentum", "beta_1", "epsilon", "learning rate"],
)
def test_variants_that_differ_in_one_setting_do_not_get_in_each_others_way(
    dataset, make_trainer, trained, other
):
    expected = trained[other.label][0][1]
    alone = Trainer(dataset)(Task(other, seed=1))
    both = make_trainer()

    assert_same_run(both(Task(VARIANTS[other.label], seed=1)), expected)
    assert_same_run(both(Task(other, seed=1)), alone)
    weights = zip(alone.weights, expected.weights, strict=True)
    assert any((weight != same).any() for weight, same in weights)


class Memory(Told):
    """Keeps snapshots; may break training off after so many."""

    def __init__(self, told, after=None):
        super().__init__(told)
        self.kept, self.after = {}, after

    def begin(self, seed):
        return self.kept.get(seed)

    def keep(self, seed, snapshot):
        self.kept[seed] = snapshot
        if self.after == sum(len(one.history) for one in self.kept.values()):
            raise TimeoutError


# Two epochs a seed: within a run, between two, and when all is done.
@pytest.mark.parametrize(
    ("one", "after"), [(BATCH_NORM, 1), (NO_NORM, 2), (NO_NORM, 6), (NOISY, 3)]
)
def test_a_run_that_was_broken_off_comes_to_the_same_end(
    make_trainer, trained, monkeypatch, one, after
):
    told, steps = [], []
    memory = Memory(told, after)
    training = make_trainer(memory)
    with pytest.raises(TimeoutError):
        in_turn(training, one)
    memory.after, train_epoch = None, Solver.train_epoch
    told.clear()
    monkeypatch.setattr(Solver, "train_epoch", lambda *to: steps.append(1) or train_epoch(*to))

    runs = in_turn(training, one)

    expected, told_at_once = trained[one.label]
    for run, same in zip(runs, expected, strict=True):
        assert_same_run(run, same)
    assert told == told_at_once
    assert len(steps) == 3 * 2 - after


class Earlier(Memory):
    """Has a run already."""

    def __init__(self, told, run):
        super().__init__(told)
        self.run, self.begun, self.ended = run, [], []
        self.end = self.ended.append

    def finished(self, seed):
        return self.run if seed == self.run.seed else None

    def begin(self, seed):
        self.begun.append(seed)


def test_a_run_that_is_there_already_is_not_trained(dataset, trained):
    expected, told_at_once = trained["none"]
    told = []
    hooks = Earlier(told, expected[1])

    runs = in_turn(Trainer(dataset, hooks), NO_NORM)

    assert runs[1] is expected[1]
    for run, same in zip(runs, expected, strict=True):
        assert_same_run(run, same)
    assert hooks.begun == hooks.ended == list(hooks.kept) == [0, 2]
    assert told == [at for at in told_at_once if at.seed != 1]


def test_noise_makes_a_difference(trained):
    for noisy, plain in zip(trained["noisy batch"][0], trained["batch"][0], strict=True):
        assert noisy.history[0].train.loss != plain.history[0].train.loss


@pytest.mark.parametrize("one", VARIANTS.values(), ids=VARIANTS)
def test_what_is_kept_is_built_of_keras_own_layers(trained, one):
    for run in trained[one.label][0]:
        layers = keras.models.model_from_json(run.architecture).layers
        assert all(type(layer).__module__.startswith("keras.") for layer in layers)
        assert run.architecture == trained[one.normalization.at_inference.kind][0][0].architecture


def test_seeds_give_different_runs(trained):
    runs = trained["batch"][0] + trained["noisy batch"][0]
    for i, run in enumerate(runs):
        other = runs[i - 1]
        assert run.history[-1].train.loss != other.history[-1].train.loss
        assert (run.weights[0] != other.weights[0]).any()


def test_each_epoch_is_told_once_and_counts_from_0(trained):
    for runs, told in trained.values():
        assert [(at.seed, at.epoch) for at in told] == [
            (seed, epoch) for seed in range(3) for epoch in range(2)
        ]
        assert told == [at for run in runs for at in run.history]


@pytest.mark.parametrize("one", VARIANTS.values(), ids=VARIANTS)
def test_last_scores_are_those_of_the_model_that_is_returned(dataset, trained, one):
    for run in trained[one.label][0]:
        model = keras.models.model_from_json(run.architecture)
        model.set_weights(run.weights)
        for split in ("train", "validation"):
            data, scores = getattr(dataset, split), getattr(run.history[-1], split)
            logits = model(data.inputs, training=False).numpy().astype(np.float64)
            losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(len(data)), data.labels]
            assert scores.loss == pytest.approx(losses.mean(), rel=1e-5)
            assert scores.accuracy == pytest.approx((logits.argmax(1) == data.labels).mean())


@pytest.mark.parametrize("one", VARIANTS.values(), ids=VARIANTS)
def test_every_variant_starts_from_the_seeds_kernels_and_sees_the_seeds_batches(
    dataset, trained, one
):
    model = build(one.network, one.normalization, shape=(3, 3), classes=3)
    solver = Solver(model, one.training)
    state = solver.start(seed=2)
    for epoch in range(2):
        batches = epoch_batches(2, epoch, examples=23, batch_size=5)
        rates = np.full(len(batches), one.training.optimizer.learning_rate, np.float32)
        solver.train_epoch(state, dataset.train.inputs, dataset.train.labels, batches, rates)
    for weight, same in zip(trained[one.label][0][2].weights, solver.weights(state), strict=True):
        np.testing.assert_array_equal(weight, same)


@pytest.mark.parametrize(
    "setting",
    [
        {"weight_decay": 0.1},
        {"label_smoothing": 0.1},
        {"augmentation": [Augmentation(layer="RandomFlip")]},
        {"optimizer": Optimizer(name="sgd", learning_rate=0.05)},
    ],
    ids=str,
)
def test_what_is_compiled_is_shared_by_those_alone_for_which_it_is_the_same(dataset, setting):
    trainer = Trainer(dataset)
    solver = trainer.solver(NO_NORM)
    assert trainer.solver(slower(NO_NORM)) is solver
    assert trainer.solver(with_training(NO_NORM, epochs=7)) is solver
    assert trainer.solver(with_training(NO_NORM, **setting)) is not solver


def test_an_augmentation_that_cannot_be_built_is_told_before_training(dataset):
    wrong = with_training(NO_NORM, augmentation=[Augmentation(layer="RandomRotation")])
    with pytest.raises(ParamsError, match=r"RandomRotation: .*factor"):
        Trainer(dataset).check(wrong)


def test_a_run_that_stops_early_has_the_weights_of_its_best_epoch(make_trainer):
    stopping = EarlyStopping(monitor="loss", patience=2)
    one = with_training(NO_NORM, epochs=9, early_stopping=stopping)
    trainer = make_trainer()
    run = trainer(Task(one, seed=2))
    losses = [epoch.validation.loss for epoch in run.history]
    # Neither the first nor the last, so that no other epoch stands for it.
    assert 0 < np.argmin(losses) == len(losses) - 3
    # The same batches as in training, so that the bits are.
    scores = trainer.solver(one).evaluate(
        run.weights, trainer._inputs, trainer._labels, rows=trainer._rows[1]
    )
    assert scores == run.history[np.argmin(losses)].validation


def test_a_network_has_an_output_for_each_label_of_the_training_set(dataset):
    assert Trainer(dataset).solver(NO_NORM).model.output_shape == (None, 3)


def test_a_course_begins_with_the_first_epoch_unless_it_is_told_otherwise(make_trainer, trained):
    trainer, task = make_trainer(), Task(NO_NORM, seed=1)
    state = trainer.solver(NO_NORM).start(seed=1)
    assert tuple(trainer.course(task, state)) == trained["none"][0][1].history
