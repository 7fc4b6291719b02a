"""How much may begin at once: the limits on new requests, and which one refuses.

Only a request for something new is ever refused here. A repeat, a reversal and an
advice tell of what may have happened already; refusing one would leave money astray.
Everything is a function of its arguments and of the buckets, so that it costs a
microsecond and no time of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from isoswitch.codecs.canonical.codes import Function, Kind
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.switch.settings import AdmissionSettings

BUCKETS_MAX = 100_000


class Limit(StrEnum):
    """What stands in the way of something new."""

    TOTAL = "total"
    MERCHANT = "merchant"
    TERMINAL = "terminal"
    CLOCK = "clock"


REASONS: dict[Limit, str] = {
    Limit.TOTAL: "too many transactions are in flight",
    Limit.MERCHANT: "too many transactions of this merchant are in flight",
    Limit.TERMINAL: "this terminal asks too often",
    Limit.CLOCK: "the clock of this host is in doubt",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """How much is in flight now, the request in question included."""

    total: int
    merchant: int


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class Buckets:
    """A token bucket for each id.

    A bucket that nobody has used for as long as it takes to fill says nothing. So the
    one used least recently is forgotten when there are too many: a flood of ids costs
    a fixed amount of memory.

    Examples
    --------
    >>> buckets = Buckets()
    >>> [buckets.take("T1", per_s=1.0, burst=2, now=at) for at in (0, 0, 0, 1.5)]
    [True, True, False, True]
    """

    def __init__(self, *, buckets_max: int = BUCKETS_MAX) -> None:
        self._buckets_max = buckets_max
        self._buckets: dict[str, _Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, name: str, *, per_s: float, burst: int, now: float) -> bool:
        """Take one token from the bucket of an id; False when it is empty."""
        bucket = self._buckets.pop(name, None)
        if bucket is None:
            if len(self._buckets) >= self._buckets_max:
                del self._buckets[next(iter(self._buckets))]
            bucket = _Bucket(float(burst), now)
        gained = (now - bucket.filled_at) * per_s
        bucket.tokens = min(float(burst), bucket.tokens + gained)
        bucket.filled_at = now
        # Last in the order of the dictionary is used last.
        self._buckets[name] = bucket
        if bucket.tokens < 1.0:
            return False
        bucket.tokens -= 1.0
        return True


def begins_anew(txn: Transaction) -> bool:
    """Whether a request may be refused: nothing it is about has happened yet."""
    return not has_happened(txn) and not txn.is_repeat


def has_happened(txn: Transaction) -> bool:
    """Whether a message tells of what was done already: an advice or a reversal."""
    return txn.function is not Function.REQUEST or txn.kind is Kind.REVERSAL


def find_limit(
    settings: AdmissionSettings,
    load: Load,
    buckets: Buckets,
    *,
    is_clock_trusted: bool,
    terminal_id: str,
    now: float,
) -> Limit | None:
    """Give what stands in the way of one more request of a terminal, or None.

    Without a ``terminal_id`` no token is needed. A terminal's token is taken last: what
    another limit refuses costs it none.
    """
    if not is_clock_trusted:
        return Limit.CLOCK
    if load.total > settings.in_flight_max:
        return Limit.TOTAL
    if load.merchant > settings.merchant_in_flight_max:
        return Limit.MERCHANT
    if terminal_id and not buckets.take(
        terminal_id,
        per_s=settings.terminal_per_s,
        burst=settings.terminal_burst,
        now=now,
    ):
        return Limit.TERMINAL
    return None
