"""Batch normalisation, with and without: a paired, tracked, reproducible comparison."""

# First of all: libraries read these settings when they are imported.
from pipeline import portable  # noqa: F401
