"""One loop, two objectives, exact resume."""
