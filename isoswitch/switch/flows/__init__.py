"""One file for each kind of transaction: the whole decision, top to bottom."""
