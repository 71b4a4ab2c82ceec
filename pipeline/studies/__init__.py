"""A claim, the grid that puts it to the test, and the rules of its verdict."""
