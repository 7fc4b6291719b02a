"""How long an instant transfer may take, by the kind of clearing house; as data.

The clock starts when the sender accepts the payment. The receiver's share ends before
the whole, so that its answer still travels back in time. After the deadline the fate
is asked for, not guessed; some houses refuse a question that comes too early.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from isoswitch.clearing.transfer import TransferState

# By how much the clocks of two nodes may differ.
SKEW_MAX_S = 5.0
# The house has accepted, and tells the end by itself when it comes.
HELD_STATES = frozenset({TransferState.HELD, TransferState.RETURN_DUE})


@dataclass(frozen=True, slots=True, kw_only=True)
class TransferProfile:
    """The timers of a clearing house, in seconds.

    ``ask_after_s`` counts from the deadline; asking goes on every ``ask_every_s`` and
    becomes an exception after ``asks_max`` times, without an end. A transfer that is
    held, or due to come back, is asked about every ``ask_held_s``. What follows goes
    into messages: how and where is settled, which service, why a late transfer is
    recalled, and by which status a transfer to us is taken.
    """

    total_s: float
    receiver_s: float
    ask_after_s: float
    ask_every_s: float
    asks_max: int
    ask_held_s: float = 600.0
    settlement_method: str = "CLRG"
    clearing_system: str = ""
    service_level: str = ""
    local_instrument: str = ""
    recall_reason: str = "DS24"
    taken_status: str = "ACCC"

    def pauses_s(self, state: TransferState) -> tuple[float, float]:
        """Give the pauses before the first question and between the others."""
        if state in HELD_STATES:
            return self.ask_held_s, self.ask_held_s
        return self.ask_after_s, self.ask_every_s


def is_over(at: float, *, now: float, within_s: float) -> bool:
    """Whether a time has come that was at most so far ahead when it was set.

    One that is further ahead was set by a clock that was wrong: to wait for it could
    take hours, to be too early costs a question.

    Examples
    --------
    >>> [is_over(at, now=100.0, within_s=10.0) for at in (99.0, 105.0, 3700.0)]
    [True, False, True]
    """
    return not 0.0 < at - now <= within_s + SKEW_MAX_S


PROFILES: Mapping[str, TransferProfile] = {
    "default": TransferProfile(
        total_s=10.0, receiver_s=5.0, ask_after_s=5.0, ask_every_s=5.0, asks_max=3
    ),
    # Settled or rejected within 20 s of the time stamp; asked for from 25 s on.
    "fednow-like": TransferProfile(
        total_s=20.0,
        receiver_s=15.0,
        ask_after_s=5.0,
        ask_every_s=10.0,
        asks_max=3,
        clearing_system="FDN",
        taken_status="ACTC",
    ),
    # 10 s hard, 7 s for the beneficiary's institution.
    "sct-inst-like": TransferProfile(
        total_s=10.0,
        receiver_s=7.0,
        ask_after_s=0.0,
        ask_every_s=10.0,
        asks_max=3,
        service_level="SEPA",
        local_instrument="INST",
        recall_reason="TECH",
        taken_status="ACCP",
    ),
    # Item by item in real time; the common status request follows after a minute. Its
    # name of its system is longer than a code of ISO 20022, so none is given.
    "cnaps-like": TransferProfile(
        total_s=20.0, receiver_s=15.0, ask_after_s=40.0, ask_every_s=60.0, asks_max=3
    ),
}
