"""Amazon CloudWatch: metrics, alarms that react to data and act, metrics that functions print."""
