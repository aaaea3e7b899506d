"""Hyperparameter tuning jobs: a search over training jobs that really run."""
