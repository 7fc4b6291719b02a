"""Taps: who verified the holder, whose account it is, how far one goes without a PIN.

A wallet pays with a device number; the account behind it is named by its PAR, which
all devices of an account share. Look-ups, and with them refunds and limits, go by the
PAR where there is one and else by the number.

A tap needs no PIN up to a limit, and so many times and up to such a sum since the last
PIN. A device that verified its holder itself (CDCVM) has no such limit. Kinds of
devices are data (``DeviceSettings``): whose word is taken, and how far they go.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from isoswitch.codecs.canonical.codes import EntryMode, Kind, ResponseCode
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.codecs.emv.contactless import Tap, read_tap
from isoswitch.codecs.emv.tlv import decode_tlv
from isoswitch.codecs.emv.tokens import PaymentToken, account_key, find_token
from isoswitch.routing.bins import Span
from isoswitch.store.port import StoredTransaction
from isoswitch.switch.settings import ContactlessSettings, DeviceSettings

TAKES_MONEY = frozenset(
    {
        Kind.PURCHASE,
        Kind.PURCHASE_WITH_CASHBACK,
        Kind.CASH_WITHDRAWAL,
        Kind.PREAUTHORISATION,
    }
)
TAPS = frozenset({EntryMode.CONTACTLESS_CHIP, EntryMode.CONTACTLESS_STRIPE})
WITH_DEVICE = TAPS | {EntryMode.QR}


class Verification(StrEnum):
    """How a holder was verified, as it is stored with a transaction."""

    NOT_A_TAP = ""
    PIN = "pin"
    DEVICE = "device"
    NONE = "none"


# A tap without a PIN counts, and a PIN begins anew.
COUNTED = frozenset({Verification.PIN, Verification.NONE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a device says of itself: the account, and who verified its holder.

    ``account`` is its PAR, or the number it pays with; ``limits`` are those of its
    kind, None where it is of none.
    """

    account: Pan | str
    verification: Verification
    limits: ContactlessSettings | None = None


def read_device(txn: Transaction, kinds: Iterable[DeviceSettings] = ()) -> Device:
    """Read the device of a transaction with a card number.

    Raises
    ------
    DecodeError
        The chip data of a tap makes no sense.
    """
    assert txn.pan is not None, "a device pays with a number"
    if txn.entry_mode not in WITH_DEVICE or txn.emv is None:
        verification = Verification.NOT_A_TAP
        if txn.pin_block is not None:
            verification = Verification.PIN
        elif txn.entry_mode in TAPS:
            verification = Verification.NONE
        return Device(account=txn.pan, verification=verification)
    data = decode_tlv(txn.emv.reveal())
    token, tap = find_token(data, path="55"), read_tap(data)
    account = account_key(token.par if token else "", txn.pan)
    kind = next((each for each in kinds if _fits(each, token, tap)), None)
    if txn.pin_block is not None:
        verification = Verification.PIN
    elif (txn.entry_mode is EntryMode.QR or tap.cdcvm) and _believes(kind, txn.pan):
        # Who shows a code has opened the device.
        verification = Verification.DEVICE
    else:
        verification = Verification.NONE
    limits = kind.limits if kind else None
    return Device(account=account, verification=verification, limits=limits)


def _fits(kind: DeviceSettings, token: PaymentToken | None, tap: Tap) -> bool:
    named = {token.wallet, token.requestor_id} if token else set()
    return (not kind.schemes or tap.scheme in kind.schemes) and (
        not kind.wallets or not kind.wallets.isdisjoint(named)
    )


def _believes(kind: DeviceSettings | None, pan: Pan) -> bool:
    """Whether it is believed of a device that it verified its holder."""
    if kind is None:
        return True
    number, ranges = Span.of_card(pan), kind.token_ranges
    return kind.verifies and (not ranges or any(number in each for each in ranges))


def check_device(txn: Transaction, limits: ContactlessSettings) -> Outcome | None:
    """Decline what is too much for a device that verified its holder itself."""
    if txn.kind not in TAKES_MONEY or txn.amount is None:
        return None
    if 0 < limits.device_max_minor < txn.amount.minor:
        return _pin_wanted("more than this device pays without a PIN")
    return None


def check_tap(
    txn: Transaction, earlier: Iterable[StoredTransaction], limits: ContactlessSettings
) -> Outcome | None:
    """Decline a tap of a holder whom nobody verified, when it goes too far.

    ``earlier`` are the account's last approvals that stand and are COUNTED, newest
    first: ``taps_max`` of them say enough.
    """
    if txn.kind not in TAKES_MONEY or txn.amount is None:
        return None
    if txn.amount.minor > limits.tap_max_minor:
        return _pin_wanted("more than a tap pays without a PIN")
    taps, sum_minor = 1, txn.amount.minor
    for row in earlier:
        if row.verification == Verification.PIN:
            break
        taps += 1
        sum_minor += row.amount_minor
    if taps > limits.taps_max or sum_minor > limits.sum_max_minor:
        return _pin_wanted("too much without a PIN since the last one")
    return None


def _pin_wanted(reason: str) -> Outcome:
    return Outcome.declined(ResponseCode.EXCEEDS_COUNT_LIMIT, reason)
