"""Which experiment a table of anybody's runs amounts to, and what can be said from it."""
