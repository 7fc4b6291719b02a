"""Logs of the crypto process: JSON lines on standard error, without values."""

from __future__ import annotations

import sys

import structlog


def configure_logs() -> None:
    """Write log events as JSON lines.

    Exceptions are never rendered: the lines of a traceback could quote a PIN block.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
