"""Prepared examples as values; nothing about where they came from."""
