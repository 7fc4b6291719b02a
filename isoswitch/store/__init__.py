"""Units of work made durable by one writer with group commit."""
