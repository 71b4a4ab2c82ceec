"""What training leaves behind: epochs, history, manifest and fingerprint, model."""
