"""Requests encoded beforehand, but for their trace numbers and MACs.

A load generator has no time to build messages: building one costs hundreds of
microseconds, filling a stencil ten or twenty.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from isoswitch.codecs import headers
from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso8583.message import Message
from isoswitch.simulators.cards import TestCard
from isoswitch.simulators.keyed_macs import MacMaker
from isoswitch.simulators.requests import WITHOUT_AMOUNT, RequestBuilder
from isoswitch.simulators.terminal import TPDU
from isoswitch.switch.numbers import STAN_MAX

STAN_FIELD = 11
FRESH_S = 60.0
"""So long a stencil is used: its messages all tell the same time."""


@dataclass(frozen=True, slots=True)
class Filled:
    """One request, as its answer will name it, and its bytes on the wire."""

    stan: str
    frame: bytes


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a terminal asks for, but for its numbers and time."""

    kind: Kind
    card: TestCard
    amount_minor: int


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


def requests_of(
    builder: RequestBuilder,
    draw: Callable[[], Wanted],
    *,
    make_mac: MacMaker | None,
    first_stan: int,
) -> Iterator[Filled]:
    """Give a terminal's requests, drawn one by one, for ever."""
    made: dict[Wanted, tuple[float, Stencil]] = {}
    for number in itertools.count(first_stan):
        wanted, now = draw(), time.monotonic()
        made_at, stencil = made.get(wanted, (-FRESH_S, None))
        if stencil is None or now - made_at >= FRESH_S:
            stencil = _make_stencil(builder, wanted, make_mac)
            made[wanted] = now, stencil
        yield stencil.fill(number)


def _make_stencil(
    builder: RequestBuilder, wanted: Wanted, make_mac: MacMaker | None
) -> Stencil:
    profile, kind = builder.profile, wanted.kind
    request = builder.build(
        kind,
        wanted.card,
        0 if kind in WITHOUT_AMOUNT else wanted.amount_minor,
        pin=wanted.card.pin,
    )
    return Stencil(
        request.message,
        builder.dialect,
        framing=profile.framing,
        header_name=profile.header,
        header=TPDU if profile.header else b"",
        make_mac=make_mac,
    )
