"""Reading many captures on several instances: each leaves its part, and one puts the parts together."""
