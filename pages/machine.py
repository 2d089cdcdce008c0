"""Machine: is there room for me, who has the GPU, what waits, and what fills the disk?"""

from __future__ import annotations

import streamlit as st

from lab.frame.problems import problems_shown
from lab.machine.cleanup import disk_tabs
from lab.machine.machine_cards import box, device_cards, history
from lab.machine.queue_table import queue_table

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
