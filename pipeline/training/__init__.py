"""All that decides the bits of a run, and nothing else."""
