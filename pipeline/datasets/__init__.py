"""Where examples come from: the catalogue, its mirrors, and how their files are read."""
