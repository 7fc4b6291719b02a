"""What a simulated clearing house knows of payments and of its members."""

from __future__ import annotations

from dataclasses import dataclass

from isoswitch.codecs.iso20022.transfers import Transfer


@dataclass(slots=True)
class Payment:
    """What the house knows of one payment.

    ``forwarded_id`` is the message by which the receiving bank was asked, until
    ``expires_at`` on trio's clock; ``resolution`` what it said to a recall.
    """

    transfer: Transfer
    message_id: str
    status: str
    reason: str = ""
    returned: bool = False
    answer: bytes = b""
    forwarded_id: str = ""
    expires_at: float = 0.0
    resolution: str = ""


@dataclass(slots=True, kw_only=True)
class Member:
    """A bank: the accounts it keeps, and whether it agrees to give money back.

    ``posts_later`` makes it accept without posting (ACWP) and credit, or return, in
    ``posting_s``.
    """

    bic: str
    accounts: frozenset[str]
    agrees_to_recalls: bool = True
    posts_later: bool = False
    posting_s: float = 5.0
    credits_in_the_end: bool = True
    net_debit_cap_minor: int | None = None
