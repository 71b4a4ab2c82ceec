"""How runs are compared: a table of runs, cells, effects, a verdict."""
