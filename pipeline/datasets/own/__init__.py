"""Examples from files of the user's own, a module for each kind of file."""
