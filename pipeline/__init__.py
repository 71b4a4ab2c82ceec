"""Batch normalisation, with and without: a paired, tracked, reproducible comparison."""
