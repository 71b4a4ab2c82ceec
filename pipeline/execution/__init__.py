"""How runs are made and watched: checkpoints, interruption, progress, live view."""
