"""The experiment itself: values in, values out."""
