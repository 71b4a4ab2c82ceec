"""What a study measures of a run in addition to its scores."""
