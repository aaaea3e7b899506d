"""The attempts of a state, branches and iterations beside each other, and what is left of those that another ended."""
