"""How a page comes about: panels that are read side by side and fail alone, templates, news while it is open."""
