"""How a stage stands, in one look: the first page of the console, and ``scones status``."""
