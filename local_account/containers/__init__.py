"""Processes that stand for containers: folders under /opt/ml, environment, logs."""
