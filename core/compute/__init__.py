"""The process that computes for screens, so that their server never imports PyTorch and survives what is computed."""
