"""What is on disk about a run: its folder, status, metrics and checkpoints."""
