"""Processing, training and batch transform jobs, as processes."""
