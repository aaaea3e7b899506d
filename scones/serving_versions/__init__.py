"""Versions in the registry and behind the endpoint."""
