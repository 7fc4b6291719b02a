"""Chip, contactless and track data: what DE 35, 45, 52 to 55 carry about a card."""
