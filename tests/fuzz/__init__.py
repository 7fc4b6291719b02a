"""Fuzz targets: every decoder alone, on bytes that nobody meant to send."""
