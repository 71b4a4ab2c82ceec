"""A comparison as figures, as pages, and as tables in a terminal."""
