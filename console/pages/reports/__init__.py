"""Reports: the list, each inside the page, a new one, and traffic for it in the stand-in account."""
