"""Drift: where resources are no longer as their stack made them."""
