"""Payment commands, by the values that standards and other implementations publish."""
