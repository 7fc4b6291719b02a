"""Tests of the ISO 20022 codec."""
