"""ISO 8583 messages: field tables, two engines, lazy messages."""
