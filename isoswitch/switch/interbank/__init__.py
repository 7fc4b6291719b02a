"""Instant credit transfers over a clearing house that speaks ISO 20022."""
