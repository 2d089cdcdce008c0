"""What is handed round of runs: a report as one file, and what a stranger may read of them."""
