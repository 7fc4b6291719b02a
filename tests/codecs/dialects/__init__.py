"""Tests of the dialects."""

from __future__ import annotations
