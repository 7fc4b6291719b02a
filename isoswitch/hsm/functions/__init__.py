"""Payment cryptography as plain functions over a seven-call engine."""
