"""What we claim about speed and quality, as programs anyone can run."""
