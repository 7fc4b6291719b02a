"""Tests of what the benchmarks decide by themselves."""
