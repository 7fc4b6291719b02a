"""Dialects by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.codecs.dialects.card_link import (
    CAAA,
    CAIN,
    issuer_link,
    terminal_link,
)
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.dialects.edition import Edition
from isoswitch.codecs.dialects.edition1987 import EDITION_1987
from isoswitch.codecs.dialects.edition1993 import EDITION_1993
from isoswitch.codecs.dialects.edition2003 import EDITION_2003
from isoswitch.codecs.dialects.schemes import AMEX, MASTERCARD, VISA
from isoswitch.codecs.dialects.unionpay import CUP_POS, CUPS
from isoswitch.codecs.iso8583.specs import get_codec

# The meaning of each layout; the layout of the same name is the codec's.
EDITIONS: Mapping[str, Edition] = {
    "iso87-ascii": EDITION_1987,
    "iso87-ascii-raw": EDITION_1987,
    "iso87-bcd": EDITION_1987,
    "iso87-bcd-right": EDITION_1987,
    "iso87-bcd-mixed": EDITION_1987,
    "iso87-ebcdic": EDITION_1987,
    "iso93-ascii": EDITION_1993,
    "iso93-ascii-raw": EDITION_1993,
    "iso93-bcd": EDITION_1993,
    "iso93-bcd-right": EDITION_1993,
    "iso93-ebcdic": EDITION_1993,
    "iso2003": EDITION_2003,
    "iso2003-ascii": EDITION_2003,
    "cup-pos": CUP_POS,
    "cups-interchange": CUPS,
    "visa-vip-like": VISA,
    "mastercard-cis-like": MASTERCARD,
    "amex-gcag-like": AMEX,
    "base24-like": EDITION_1987,
    "postilion-like": EDITION_1987,
}
# Those of ISO 20022: endpoints speak the one, and terminals the other.
CARD_LINKS = (CAIN,)
CARD_TERMINALS = (CAAA,)
_CARDS: Mapping[str, Callable[[], Dialect]] = {CAIN: issuer_link, CAAA: terminal_link}


@cache
def get_dialect(name: str) -> Dialect:
    """Give the dialect of this name; each is built once.

    Raises
    ------
    ConfigError
        No dialect has this name.

    Examples
    --------
    >>> get_dialect("iso87-ascii")
    Dialect(iso87-ascii)
    """
    if name in _CARDS:
        return _CARDS[name]()
    edition = EDITIONS.get(name)
    if edition is None:
        known = ", ".join((*EDITIONS, *_CARDS))
        msg = f"no dialect is called {name!r}; there are {known}"
        raise ConfigError(msg)
    return Dialect(name, get_codec(name), edition)
