"""The kinds of resource that a stack may hold, one file a family."""
