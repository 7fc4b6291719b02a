"""The numbers and the time by which every message is named."""

from __future__ import annotations

from datetime import datetime

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.dialects.dates import parse_transmission
from isoswitch.codecs.dialects.edition import Values
from isoswitch.codecs.iso8583.message import Message


def read_stan(values: Values) -> str:
    """Give the trace number, six digits also where an edition has twelve."""
    stan: str = values.get(11, "")
    if not stan:
        raise missing(11)
    return stan[6:] if len(stan) > 6 and stan.startswith("000000") else stan


def read_rrn(values: Values) -> str:
    """Give the retrieval reference number."""
    rrn: str = values.get(37, "")
    return rrn.rstrip()


def read_transmission(
    msg: Message, values: Values, reference: datetime
) -> datetime | None:
    """Give the instant at which a message was sent, if it says so."""
    text = values.get(7)
    if not text:
        return None
    try:
        return parse_transmission(text, reference=reference)
    except ValueError:
        raise DecodeError(
            "not a date and time", field="7", offset=msg.offset(7)
        ) from None


def missing(de: int) -> DecodeError:
    """Make the error of a field that is not there."""
    return DecodeError("missing", field=str(de))
