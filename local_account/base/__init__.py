"""What every room of the account stands on: errors, the clock, child processes, state files, archives."""
