"""Requests encoded beforehand, but for their trace numbers and MACs.

A load generator has no time to build messages: building one costs a hundred
microseconds and more, filling a stencil a few.
"""

from __future__ import annotations

from dataclasses import dataclass

from isoswitch.codecs import headers
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.simulators.keyed_macs import MacMaker

STAN_MAX = 999_999
STAN_FIELD = 11


@dataclass(frozen=True, slots=True)
class Filled:
    """One request, as its answer will name it, and its bytes on the wire."""

    stan: str
    frame: bytes


class Stencil:
    """One message, to be sent many times under other trace numbers.

    ``header`` stands before it on the wire, a header of the layout ``header_name``.
    Without ``make_mac`` the message goes out with no MAC of its own.
    """

    def __init__(
        self,
        message: Message,
        dialect: Dialect,
        *,
        framing: str,
        header_name: str = "",
        header: bytes = b"",
        make_mac: MacMaker | None = None,
    ) -> None:
        self._message = message
        self._framing = get_framing(framing)
        self._header_name = header_name
        self._header = header
        self._make_mac = make_mac
        self._mac_field = dialect.mac_field(message) if make_mac else None
        self._digits = dialect.edition.stan_digits

    def fill(self, number: int) -> Filled:
        """Give the request under a trace number."""
        stan = str((number - 1) % STAN_MAX + 1).zfill(self._digits)
        message = self._message.replace({STAN_FIELD: stan})
        if self._mac_field is not None:
            assert self._make_mac is not None, "a MAC field is looked up for a maker"
            mac = self._make_mac(message.raw[: message.offset(self._mac_field)])
            message = message.replace({self._mac_field: mac})
        payload = headers.join(self._header_name, self._header, message.raw)
        return Filled(stan, self._framing.encode(payload))
