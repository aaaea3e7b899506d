"""How right predictions were, where labels say so, and which were unusual."""
