"""How good a trained run is: scores on the test set, and whether it diverged."""
