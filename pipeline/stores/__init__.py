"""Reads the runs of any MLflow store, and changes nothing in it."""
