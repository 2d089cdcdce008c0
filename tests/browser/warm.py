"""Imported once by the process from which servers are forked."""

from tests.browser.forked_server import import_all

import_all()
