"""The networks and what images go through before them."""
