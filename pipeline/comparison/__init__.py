"""One way to set runs against each other."""
