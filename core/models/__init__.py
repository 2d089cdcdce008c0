"""Builders over diffusers' networks."""
