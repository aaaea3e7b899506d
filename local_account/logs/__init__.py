"""CloudWatch Logs of the account: groups and streams, filters of their events, and metrics that these make."""
