"""CloudWatch Logs Insights: queries, their expressions, and what these see of an event."""
