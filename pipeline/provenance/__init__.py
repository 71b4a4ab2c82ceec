"""Where runs come from: code, machine, packages, DVC experiment; and where the store is."""
