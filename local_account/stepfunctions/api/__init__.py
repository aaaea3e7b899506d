"""What Step Functions answers about machines, versions, aliases and activities, and what it refuses at the call."""
