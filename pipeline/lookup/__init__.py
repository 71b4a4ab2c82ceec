"""What a name on the command line stands for: a variant, a commit, an experiment, a run."""
