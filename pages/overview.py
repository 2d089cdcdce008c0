"""Overview: what is going on, and what to do next."""

from __future__ import annotations

from lab.frame.problems import problems_shown
from lab.overview.overview import show

with problems_shown():
    show()
