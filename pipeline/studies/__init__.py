"""Studies: a claim, a grid of trainings that tests it, and the rules of its verdict."""
