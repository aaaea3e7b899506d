"""CloudWatch Logs of the stand-in account."""
