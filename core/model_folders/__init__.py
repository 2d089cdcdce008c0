"""Models as folders: exported, imported, described, and sent to a hub."""
