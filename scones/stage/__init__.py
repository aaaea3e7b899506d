"""What differs between stages, and what everything of one is called."""
