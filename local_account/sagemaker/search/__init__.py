"""Search: which resources of a kind have which properties."""
