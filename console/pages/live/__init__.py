"""Live traffic: the charts of the stack's own dashboard, over a chosen time, with deployments as marks."""
