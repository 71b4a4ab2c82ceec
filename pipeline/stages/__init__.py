"""One module is one DVC stage: read, compute, write."""
