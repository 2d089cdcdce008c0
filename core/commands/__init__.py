"""The commands of `python -m core`, one file each: options, and what is printed."""
