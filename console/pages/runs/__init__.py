"""Runs: the training pipeline as a graph, its curves and logs as they grow, starting, stopping, comparing."""
