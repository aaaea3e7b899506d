"""How networks are trained, one file a recipe."""
