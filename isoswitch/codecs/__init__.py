"""Bytes to frames to messages to canonical transactions, and back; pure."""
