"""What all tests share: one thread each, so that tests side by side do not spin against one another."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
