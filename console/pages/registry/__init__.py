"""Registry: the versions, their evaluations, approving, rejecting and going back."""
