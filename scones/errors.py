"""The errors that a user can put right: each is printed as one line, exit code 1."""


class SettingsError(Exception):
    """A stage that does not exist, or a stage file that holds an unknown key or a wrong value."""


class SconesError(Exception):
    """Something expected went wrong; the message says what was expected, what came and what to do."""
