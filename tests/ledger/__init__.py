"""The rules of double entry and of holds."""
