"""What the machine is and does now: GPUs, processes and their tokens, load."""
