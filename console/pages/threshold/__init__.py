"""Threshold: what each threshold lets pass, tried with a slider, saved with a reason."""
