"""Real sockets, processes, SoftHSM and files."""
