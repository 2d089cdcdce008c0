"""What answers the questions of screens, a module a subject. Each may import PyTorch: the server never imports it."""
