"""A peer that answers with fixed accuracies."""

import os
import sys

from benchmarks.job import Scores, one_by_one
from benchmarks.protocol import serve


def make(job):
    os.write(1, b"not an answer\n")

    def train(variant, seed):
        if variant == "unknown":
            raise SystemExit("no such variant")
        if variant == "verbose":
            os.write(2, b"a line of a library's\n" * 10_000)
            sys.stderr.write(" ".join(sorted(os.environ)))
            raise SystemExit(1)
        return [Scores(epoch, seed / 10, job.learning_rate, 0.5) for epoch in range(job.epochs)]

    return one_by_one(train)


if __name__ == "__main__":
    serve(make)
