"""The Compare page: which of several runs or groups is better, and why."""
