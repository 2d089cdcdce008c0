"""What is handed round of runs."""
