"""Tests of the simulated ends."""
