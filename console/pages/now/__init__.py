"""Now: one look says whether anybody must act."""
