"""The engine of Latent Diffusion Lab: everything here works without a screen."""
