"""Proof: vectors, properties, simulation, real sockets and real tokens."""
