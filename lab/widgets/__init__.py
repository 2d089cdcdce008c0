"""Reusable pieces of screen that no page owns."""
