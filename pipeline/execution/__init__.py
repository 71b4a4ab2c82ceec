"""How runs are made and watched: engines, checkpoints, interruption, progress."""
