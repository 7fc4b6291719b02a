"""Double entry: what is set aside, what is owed, and what was given back; pure."""
