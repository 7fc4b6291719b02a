"""QR pictures of a payload: characters for a terminal, SVG or PNG."""

from __future__ import annotations

import io
from typing import Any

from isoswitch.codecs.canonical.errors import EncodeError


def to_terminal(payload: str) -> str:
    """Draw the code with half-block characters.

    Raises
    ------
    EncodeError
        The payload does not fit a QR code.

    Examples
    --------
    >>> len(to_terminal("upi://pay?pa=shop@bank").splitlines()) > 10
    True
    """
    out = io.StringIO()
    _make(payload).terminal(out, compact=True)
    return out.getvalue()


def to_svg(payload: str, *, scale: int = 4) -> str:
    """Draw the code as an SVG document; ``scale`` is the size of a module.

    Examples
    --------
    >>> to_svg("upi://pay?pa=shop@bank").startswith("<?xml")
    True
    """
    return _save(payload, "svg", scale).decode()


def to_png(payload: str, *, scale: int = 4) -> bytes:
    """Draw the code as a PNG picture; ``scale`` is the pixels of a module.

    Examples
    --------
    >>> to_png("upi://pay?pa=shop@bank")[1:4]
    b'PNG'
    """
    return _save(payload, "png", scale)


def _save(payload: str, kind: str, scale: int) -> bytes:
    out = io.BytesIO()
    _make(payload).save(out, kind=kind, scale=scale)
    return out.getvalue()


def _make(payload: str) -> Any:
    import segno  # noqa: PLC0415  the command line starts without it

    try:
        # Level M is what EMVCo recommends; UTF-8 is what the CRC is computed over.
        return segno.make(payload, error="m", micro=False, encoding="utf-8")
    except (ValueError, UnicodeEncodeError):
        raise EncodeError("does not fit a QR code") from None
