"""The Schedulers page."""
