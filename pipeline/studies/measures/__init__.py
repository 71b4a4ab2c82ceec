"""What a study measures of a run beside its scores."""
