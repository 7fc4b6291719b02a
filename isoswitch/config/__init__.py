"""The typed configuration of a whole network, from one TOML file."""
