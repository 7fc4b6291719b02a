"""Tests of the pure routing room."""
