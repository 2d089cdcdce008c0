"""Any image data set as one uint8 array, and batches that depend on the step alone."""
