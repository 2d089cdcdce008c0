"""Settings compared on the same noise: grids, sampler comparisons and what they found."""
