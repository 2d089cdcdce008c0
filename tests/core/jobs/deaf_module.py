"""Imported, it never returns: for tests of whoever waits for it."""

import signal

signal.pause()
