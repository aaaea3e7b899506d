"""The container job that turns captured endpoint traffic into a report."""
