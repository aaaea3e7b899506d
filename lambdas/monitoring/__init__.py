"""What monitoring does in the account: reports on schedule, and what becomes of an alarm."""
