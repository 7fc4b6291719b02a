"""What all tests share: Hypothesis without wall-clock deadlines."""

from __future__ import annotations

from hypothesis import settings

# The machine may be busy; how long an example takes says nothing about the code.
settings.register_profile("isoswitch", deadline=None)
settings.load_profile("isoswitch")
