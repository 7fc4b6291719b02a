"""What a switch tells over HTTP: its health and its figures."""
