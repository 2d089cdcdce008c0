"""Training in processes that outlive the screen."""
