"""One-time payment codes that a payer shows and a merchant scans (B scan C).

Each wallet has its own digits: WeChat 18 starting with 10 to 15, Alipay 16 to 24
starting with 25 to 30, UnionPay 19 starting with 62. A code pays for about a minute
for whoever holds it, so it is a secret and prints masked.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.secrets import Secret


class Wallet(StrEnum):
    """Whose payment code it is."""

    WECHAT = "wechat"
    ALIPAY = "alipay"
    UNIONPAY = "unionpay"


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeRule:
    """The prefixes (both included) and lengths of one wallet's codes."""

    wallet: Wallet
    prefix_min: int
    prefix_max: int
    digits_min: int
    digits_max: int


RULES = (
    CodeRule(
        wallet=Wallet.WECHAT,
        prefix_min=10,
        prefix_max=15,
        digits_min=18,
        digits_max=18,
    ),
    CodeRule(
        wallet=Wallet.ALIPAY,
        prefix_min=25,
        prefix_max=30,
        digits_min=16,
        digits_max=24,
    ),
    CodeRule(
        wallet=Wallet.UNIONPAY,
        prefix_min=62,
        prefix_max=62,
        digits_min=19,
        digits_max=19,
    ),
)


@dataclass(frozen=True, slots=True)
class PaymentCode:
    """A payer's code and the wallet that honours it.

    Examples
    --------
    >>> decode_payment_code("135112298638468293")
    PaymentCode(wallet=<Wallet.WECHAT: 'wechat'>, digits=Secret(***))
    """

    wallet: Wallet
    digits: Secret[str]

    def encode(self) -> str:
        """Give back the digits."""
        return self.digits.reveal()


def find_wallet(text: str) -> Wallet | None:
    """Find the wallet of a payment code; None where no rule fits.

    Examples
    --------
    >>> find_wallet("289431869362714645")
    <Wallet.ALIPAY: 'alipay'>
    >>> find_wallet("160000000000000000") is None
    True
    """
    try:
        return decode_payment_code(text).wallet
    except DecodeError:
        return None


def decode_payment_code(text: str) -> PaymentCode:
    """Recognise a payment code by its prefix and length.

    Raises
    ------
    DecodeError
        Not digits, no wallet has this prefix, or the length is not the wallet's.
    """
    digits = len(text) - len(text.lstrip("0123456789"))
    if digits < len(text) or not text:
        raise DecodeError("not digits", offset=digits)
    prefix = int(text[:2])
    rule = next((r for r in RULES if r.prefix_min <= prefix <= r.prefix_max), None)
    if rule is None:
        raise DecodeError("no wallet has this prefix")
    if not rule.digits_min <= len(text) <= rule.digits_max:
        offset = min(len(text), rule.digits_max)
        raise DecodeError(f"wrong length for {rule.wallet}", offset=offset)
    return PaymentCode(rule.wallet, Secret(text))
