"""What all tests share: no wall-clock deadlines, logs without local variables."""

from __future__ import annotations

import structlog
from hypothesis import settings

# The machine may be busy; how long an example takes says nothing about the code.
settings.register_profile("isoswitch", deadline=None)
settings.load_profile("isoswitch")

# The default prints the variables of every frame of a traceback, secrets included.
structlog.configure(
    processors=[
        structlog.stdlib.add_log_level,
        structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        ),
    ]
)
