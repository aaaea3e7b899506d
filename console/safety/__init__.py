"""What keeps others out of the console: other machines, other sites, other logins, and scripts in what is shown."""
