"""The one error that commands raise for what a user can put right: it is printed as one line, exit code 1."""


class SconesError(Exception):
    """Something expected went wrong; the message says what was expected, what came and what to do."""
