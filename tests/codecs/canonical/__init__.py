"""Tests of the canonical values."""

from __future__ import annotations
