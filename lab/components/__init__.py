"""Reusable pieces of screen."""
