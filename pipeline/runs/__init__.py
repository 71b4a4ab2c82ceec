"""What training writes: epoch scores, history, manifest with fingerprints, models."""
