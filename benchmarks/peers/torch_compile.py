"""PyTorch, with its network compiled by `torch.compile`."""

from functools import partial

import torch

from benchmarks.peers.torch_eager import make
from benchmarks.protocol import serve

if __name__ == "__main__":
    serve(partial(make, compiled=torch.compile))
