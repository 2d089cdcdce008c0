"""Where a job's processes run: behind one small protocol."""
