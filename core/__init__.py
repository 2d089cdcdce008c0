"""The engine of Latent Diffusion Lab: everything here works without a screen."""

import os

# Read when PyTorch is loaded: threads that wait for each other sleep. Spinning, they halved the speed on a busy core.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
