"""Other people's projects, in the styles that people write them in: they know nothing of this account."""
