"""How fast pages are that are made while somebody waits for them."""
