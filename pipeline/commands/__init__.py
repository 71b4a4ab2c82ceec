"""What is no stage: each module is a command of its own."""
