"""The commands, one per file. Heavy modules are imported when a command runs, not for `--help`."""
