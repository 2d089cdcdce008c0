"""Evaluate: how good is it, and can I believe that?"""

from __future__ import annotations

from lab.evaluate.evaluate_page import evaluate_page
from lab.frame.problems import problems_shown

with problems_shown():
    evaluate_page()
