"""Verbs about a whole stage: it comes, costs, is delivered, is looked at as one, and goes."""
