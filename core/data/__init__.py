"""Any image dataset as one uint8 array, and batches that depend on the step alone."""
