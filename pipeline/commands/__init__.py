"""The commands, one a file. What is heavy they import when they run, not for `--help`."""
