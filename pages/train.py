"""Train: what to start, with which settings, and what it will cost."""

from __future__ import annotations

from lab.frame.problems import problems_shown
from lab.train.train_form import train_page

with problems_shown():
    train_page()
