"""PyTorch, eager."""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional

from benchmarks.job import Arrays, Job, Scores, TrainMany, one_by_one, read_arrays
from benchmarks.protocol import serve

Tensors = tuple[torch.Tensor, torch.Tensor]


def make(job: Job, compiled: Callable[[nn.Module], nn.Module] = lambda model: model) -> TrainMany:
    """Returns a function that trains one network at a time; `compiled` may make it faster."""
    # On so small a network, a second thread costs more than it gains.
    torch.set_num_threads(1)
    arrays = read_arrays(job)
    sets = [_tensors(arrays.train), _tensors(arrays.validation)]

    def train(variant: str, seed: int) -> list[Scores]:
        torch.manual_seed(seed)
        model = compiled(_model(job, arrays, normalized=variant == "batch_norm"))
        optimizer = torch.optim.Adam(
            model.parameters(), lr=job.learning_rate, eps=job.epsilon, fused=True
        )
        curve = []
        for epoch in range(job.epochs):
            batches = torch.from_numpy(arrays.batches(seed, epoch, job.batch_size)).long()
            _train_epoch(model, optimizer, *sets[0], batches)
            curve.append(Scores(*(score for one in sets for score in _scores(model, *one))))
        return curve

    return one_by_one(train)


def _train_epoch(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
    labels: torch.Tensor,
    batches: torch.Tensor,
) -> None:
    model.train()
    for batch in batches:
        loss = functional.cross_entropy(model(images[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@torch.inference_mode()
def _scores(model: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> list[float]:
    model.eval()
    logits = model(images)
    right = (logits.argmax(1) == labels).float().mean()
    return [functional.cross_entropy(logits, labels).item(), right.item()]


def _model(job: Job, arrays: Arrays, *, normalized: bool) -> nn.Module:
    layers, pixels = _convolutions(job, arrays.train.inputs.shape[1], normalized=normalized)
    widths = [pixels, *job.hidden_dims]
    for inputs, width in pairwise(widths):
        layers.append(nn.Linear(inputs, width))
        if normalized:
            # PyTorch's momentum is one minus that of Keras.
            layers.append(nn.BatchNorm1d(width, job.norm_epsilon, 1 - job.momentum))
        layers.append(nn.ReLU())
    layers.append(nn.Linear(widths[-1], int(arrays.train.labels.max()) + 1))
    for layer in layers:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return nn.Sequential(*layers)


def _convolutions(job: Job, pixels: int, *, normalized: bool) -> tuple[list[nn.Module], int]:
    """Returns the layers before the dense ones, and how many values they leave."""
    if not job.filters:
        return [], pixels
    side = math.isqrt(pixels)
    layers: list[nn.Module] = [nn.Unflatten(1, (1, side, side))]
    for channels, filters in pairwise([1, *job.filters]):
        layers.append(nn.Conv2d(channels, filters, job.kernel_size, padding="same"))
        if normalized:
            layers.append(nn.BatchNorm2d(filters, job.norm_epsilon, 1 - job.momentum))
        layers += [nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True)]
        side = -(-side // 2)
    return [*layers, nn.Flatten()], job.filters[-1] * side * side


def _tensors(examples: tuple) -> Tensors:
    return torch.from_numpy(examples[0]), torch.from_numpy(examples[1]).long()


if __name__ == "__main__":
    serve(make)
