"""Where examples come from: the catalogue, its mirrors, and how files are read."""
