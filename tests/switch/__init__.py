"""Tests of the running host, part by part."""
