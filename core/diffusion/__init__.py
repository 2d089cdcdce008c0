"""Noise schedules, the sampler factory with its gate, and guidance."""
