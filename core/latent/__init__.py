"""Everything between raw VAE latents and the normalised latents the U-Net sees."""
