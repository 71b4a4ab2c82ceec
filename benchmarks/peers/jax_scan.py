"""JAX: an epoch is one jitted `lax.scan`; seeds side by side on two threads."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.job import Job, Scores, TrainMany, read_arrays, side_by_side
from benchmarks.protocol import serve

Tree = Any


def make(job: Job) -> TrainMany:
    """Returns a function that trains two networks at a time: jitted code releases the GIL."""
    arrays = read_arrays(job)
    sets = [tuple(jnp.asarray(part) for part in one) for one in arrays]
    widths = (arrays.train.inputs.shape[1], *job.hidden_dims, int(arrays.train.labels.max()) + 1)

    def train(variant: str, seed: int) -> list[Scores]:
        normalized = variant == "batch_norm"
        parameters, averages = _first(jax.random.key(seed), widths, normalized=normalized)
        zeros = jax.tree.map(jnp.zeros_like, parameters)
        state = (parameters, averages, zeros, jax.tree.map(jnp.copy, zeros), jnp.zeros(()))
        curve = []
        for epoch in range(job.epochs):
            batches = jnp.asarray(arrays.batches(seed, epoch, job.batch_size))
            state = _train_epoch(job, state, *sets[0], batches)
            scores = [_scores(job, *state[:2], *one) for one in sets]
            curve.append(Scores(*(float(score) for one in scores for score in one)))
        return curve

    return side_by_side(train, workers=2)


@partial(jax.jit, static_argnums=0, donate_argnums=1)
def _train_epoch(job: Job, state: Tree, images: Any, labels: Any, batches: Any) -> Tree:
    def step(state: Tree, batch: Any) -> tuple[Tree, None]:
        parameters, averages, *moments, t = state
        gradients, averages = jax.grad(_loss, argnums=1, has_aux=True)(
            job, parameters, averages, images[batch], labels[batch]
        )
        parameters, *moments = _adam(job, parameters, gradients, *moments, t + 1)
        return (parameters, averages, *moments, t + 1), None

    return jax.lax.scan(step, state, batches)[0]


@partial(jax.jit, static_argnums=0)
def _scores(job: Job, parameters: Tree, averages: Tree, images: Any, labels: Any) -> tuple:
    logits, _ = _logits(job, parameters, averages, images, training=False)
    return _cross_entropy(logits, labels), (logits.argmax(1) == labels).mean()


def _loss(job: Job, parameters: Tree, averages: Tree, images: Any, labels: Any) -> tuple:
    logits, averages = _logits(job, parameters, averages, images, training=True)
    return _cross_entropy(logits, labels), averages


def _cross_entropy(logits: Any, labels: Any) -> Any:
    chosen = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    return (jax.nn.logsumexp(logits, axis=1) - chosen).mean()


def _logits(
    job: Job, parameters: Tree, averages: Tree, units: Any, *, training: bool
) -> tuple[Any, Tree]:
    """Returns logits [batch, classes], and the updated moving averages."""
    *hidden, last = parameters
    moved = []
    for layer, average in zip(hidden, averages, strict=True):
        units = units @ layer["kernel"] + layer["bias"]
        if average:
            now = (units.mean(0), units.var(0)) if training else average
            units = (units - now[0]) * jax.lax.rsqrt(now[1] + job.norm_epsilon)
            units = units * layer["gamma"] + layer["beta"]
            average = jax.tree.map(  # noqa: PLW2901  The same average, moved.
                lambda old, new: job.momentum * old + (1 - job.momentum) * new, average, now
            )
        moved.append(average)
        units = jax.nn.relu(units)
    return units @ last["kernel"] + last["bias"], moved


def _adam(job: Job, parameters: Tree, gradients: Tree, m: Tree, v: Tree, t: Any) -> tuple:
    b1, b2 = 0.9, 0.999
    m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, m, gradients)
    v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, v, gradients)
    rate = job.learning_rate * jnp.sqrt(1 - b2**t) / (1 - b1**t)
    moved = jax.tree.map(
        lambda p, m, v: p - rate * m / (jnp.sqrt(v) + job.epsilon), parameters, m, v
    )
    return moved, m, v


def _first(key: Any, widths: tuple[int, ...], *, normalized: bool) -> tuple[Tree, Tree]:
    """Returns the initial parameters and moving averages."""
    draw = jax.nn.initializers.glorot_uniform()
    keys = jax.random.split(key, len(widths) - 1)
    parameters = [
        {"kernel": draw(key, (inputs, width)), "bias": jnp.zeros(width)}
        for key, inputs, width in zip(keys, widths, widths[1:], strict=False)
    ]
    averages = [(jnp.zeros(w), jnp.ones(w)) if normalized else () for w in widths[1:-1]]
    if normalized:
        for layer in parameters[:-1]:
            layer |= {"gamma": jnp.ones_like(layer["bias"]), "beta": jnp.zeros_like(layer["bias"])}
    return parameters, averages


if __name__ == "__main__":
    serve(make)
