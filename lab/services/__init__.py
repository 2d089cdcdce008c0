"""The only rooms of the screens that call core; they return NumPy and plain records."""
