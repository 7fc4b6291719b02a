"""Positions of participants at a clearing house, their caps, and the net of a window.

Money between participants moves by changing two positions by the same amount, so their
sum is zero at every moment. A window is closed by writing down every position as one
movement, and starting again from nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.codecs.canonical.money import Money


class CapExceeded(IsoswitchError):
    """The participant would owe more than its net debit cap."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetPosition:
    """What a participant gets (positive) or owes (negative) for a window."""

    participant: str
    amount: Money


@dataclass(slots=True)
class Window:
    """One settlement window in one currency.

    ``caps`` are net debit caps in minor units; who has none may owe any amount.

    Examples
    --------
    >>> window = Window("2026-06-01/1", "978", {"BANKA": 500})
    >>> window.move(debtor="BANKA", creditor="BANKB", minor=300)
    >>> [(each.participant, each.amount.minor) for each in window.positions()]
    [('BANKA', -300), ('BANKB', 300)]
    """

    name: str
    currency: str
    caps: Mapping[str, int] = field(default_factory=dict)
    minor_by_participant: dict[str, int] = field(default_factory=dict)

    def move(self, *, debtor: str, creditor: str, minor: int) -> None:
        """Move money from one position to another.

        Raises
        ------
        CapExceeded
            The debtor would owe more than its cap; nothing was moved.
        """
        assert minor > 0, "money moves forward"
        owed = minor - self.minor_by_participant.get(debtor, 0)
        cap = self.caps.get(debtor)
        if cap is not None and owed > cap:
            msg = f"{debtor} would exceed its net debit cap in window {self.name}"
            raise CapExceeded(msg)
        for participant, change in ((debtor, -minor), (creditor, minor)):
            before = self.minor_by_participant.get(participant, 0)
            self.minor_by_participant[participant] = before + change

    def positions(self) -> tuple[NetPosition, ...]:
        """Give the net of every participant, in the order of their names.

        The sum is zero; a window whose sum is not contradicts itself.
        """
        total = sum(self.minor_by_participant.values())
        assert total == 0, f"window {self.name} does not sum to zero"
        return tuple(
            NetPosition(participant=name, amount=Money(minor, self.currency))
            for name, minor in sorted(self.minor_by_participant.items())
        )
