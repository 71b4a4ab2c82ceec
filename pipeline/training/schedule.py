"""The learning rate of each step: a pure function of the parameters."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.params import Training


def epoch_rates(training: Training, epoch: int, steps: int) -> NDArray[np.float32]:
    """Returns the learning rates [steps] of an epoch, which counts from 0.

    During warm-up the rate rises in equal steps (Goyal et al. 2017, section 2.2). `cosine` then
    follows Loshchilov & Hutter (2017, equation 5), without restarts, from the end of warm-up to the
    end of training.
    """
    first = epoch * steps
    rates = [_rate(training, step, steps) for step in range(first, first + steps)]
    return np.array(rates, np.float32)


def _rate(training: Training, step: int, steps: int) -> float:
    rate, schedule = training.optimizer.learning_rate, training.schedule
    if schedule is None:
        return rate
    warmup, end = (schedule.warmup_epochs or 0) * steps, training.epochs * steps
    if step < warmup:
        return rate * (step + 1) / warmup
    if schedule.name == "cosine":
        final, gone = schedule.final or 0, (step - warmup) / (end - warmup)
        return rate * (final + (1 - final) * (1 + math.cos(math.pi * gone)) / 2)
    if schedule.name == "step" and schedule.every and schedule.factor:
        return rate * schedule.factor ** (step // steps // schedule.every)
    return rate
