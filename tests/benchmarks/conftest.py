import pytest

from benchmarks.job import Job


@pytest.fixture
def job():
    return Job(
        hidden_dims=(4, 3),
        epochs=2,
        batch_size=8,
        learning_rate=0.01,
        epsilon=1e-8,
        momentum=0.9,
        norm_epsilon=0.001,
        data="data/prepared.npz",
    )
