"""Settings: their schema, how they are read, and the presets."""
