"""Compare: which is better, and why?"""

from __future__ import annotations

from lab.compare.compare_page import compare_page
from lab.frame.problems import problems_shown

with problems_shown():
    compare_page()
