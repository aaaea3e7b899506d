"""Map states: items, map runs and their children, results."""
