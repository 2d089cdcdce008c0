"""What surrounds every page: header, dialogs, live parts, notifications."""
