"""Hash-chained records, and the state that follows from them; pure."""
