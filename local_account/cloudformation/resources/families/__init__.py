"""The types of resource, by family."""
