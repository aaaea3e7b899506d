"""What runs inside the container of an endpoint's variant, started by its file path."""
