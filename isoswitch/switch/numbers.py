"""Transaction ids, retrieval reference numbers and trace numbers.

A boot number, unique in the store, and a counter make every id unique for ever. The
retrieval reference number is the same pair in base 36, so that an answer which nobody
waits for any more still names its transaction:

    0     4          12
    | boot| counter  |        DE 37, an 12
"""

from __future__ import annotations

from dataclasses import dataclass

DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BOOT_DIGITS = 4
COUNTER_DIGITS = 8
STAN_MAX = 999_999
# Two digits at a time: every transaction has its number written.
_PAIRS = tuple(high + low for high in DIGITS for low in DIGITS)
# Where each boot begins with its trace numbers: far from where the last one began.
STAN_STRIDE = 381_966


@dataclass(frozen=True, slots=True)
class Numbering:
    """The three numbers of one transaction."""

    transaction_id: str
    rrn: str
    stan: str


class Numbers:
    """Gives out numbers; one for each boot of a node.

    Examples
    --------
    >>> Numbers(boot=37).draw()
    Numbering(transaction_id='37-1', rrn='001100000001', stan='132757')
    """

    def __init__(self, *, boot: int) -> None:
        self.boot = boot
        self._boot_text = to_base36(boot, BOOT_DIGITS)
        self._first_stan = boot * STAN_STRIDE % STAN_MAX
        self._counter = 0

    def draw(self) -> Numbering:
        """Draw the numbers of the next transaction."""
        self._counter += 1
        count = self._counter
        return Numbering(
            f"{self.boot}-{count}",
            self._boot_text + to_base36(count, COUNTER_DIGITS),
            f"{(self._first_stan + count - 1) % STAN_MAX + 1:06d}",
        )


def find_transaction_id(rrn: str) -> str | None:
    """Give the transaction id that a retrieval reference number of ours names.

    Examples
    --------
    >>> find_transaction_id("001100000001")
    '37-1'
    >>> find_transaction_id("not ours") is None
    True
    """
    if len(rrn) != BOOT_DIGITS + COUNTER_DIGITS or any(c not in DIGITS for c in rrn):
        return None
    return f"{int(rrn[:BOOT_DIGITS], 36)}-{int(rrn[BOOT_DIGITS:], 36)}"


def to_rrn(transaction_id: str) -> str | None:
    """Give the retrieval reference number of a transaction; None if it is no id.

    Examples
    --------
    >>> to_rrn("37-1")
    '001100000001'
    """
    boot, _, count = transaction_id.partition("-")
    if not (boot.isascii() and count.isascii() and (boot + count).isdecimal()):
        return None
    if not (boot and count):
        return None
    return to_base36(int(boot), BOOT_DIGITS) + to_base36(int(count), COUNTER_DIGITS)


def to_base36(number: int, width: int) -> str:
    """Write a number in base 36 with leading zeros.

    Examples
    --------
    >>> to_base36(36, 4)
    '0010'
    """
    text = ""
    while number:
        number, pair = divmod(number, len(_PAIRS))
        text = _PAIRS[pair] + text
    assert len(text) <= width, "the number outgrew its field"
    return text.rjust(width, "0")
