"""Runs of pipelines, deliveries, executions and batches: start, wait, describe."""
