"""Machine: is there room for me, who has the GPU, what waits, and what fills the disk?"""

from __future__ import annotations

import streamlit as st

from lab.components.cleanup import disk_tabs
from lab.components.machine_cards import box, device_cards, history
from lab.components.problems import problems_shown
from lab.components.queue_table import queue_table

st.title("Machine")
device_cards()
st.subheader("Queue")
queue_table()
st.subheader("Load")
box()
history()
st.subheader("Disk")
with problems_shown():
    disk_tabs()
