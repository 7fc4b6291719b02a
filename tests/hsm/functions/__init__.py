"""Tests of the payment functions."""
