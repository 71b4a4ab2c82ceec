"""MLflow: the store, what a run looks like there, and how it is read back."""
