"""Tests of the payment crypto service."""
