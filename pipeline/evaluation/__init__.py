"""How good a run is: its scores on the test set, and whether it diverged."""
