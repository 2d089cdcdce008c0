"""What is found out about a trained VAE: how well it reconstructs, and what its latents hold."""
