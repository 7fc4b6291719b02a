"""A simulated token service: which card a device number stands for, and may it pay.

It stands before an issuer, as a network's does: the acquirer's host sends the device
number, and never learns the card's. A token is bound to its domain (a tap), to the key
in its device, and to a counter that only goes forward. It names its own account (PAR)
and wallet, or none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random
from typing import NoReturn

from isoswitch.codecs.canonical.codes import EntryMode, Function, Kind, ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError, IsoswitchError
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.emv.tlv import decode_tlv
from isoswitch.codecs.emv.tokens import find_token
from isoswitch.simulators.card_crypto import make_arqc
from isoswitch.simulators.cards import TestCard
from isoswitch.simulators.devices import (
    COVERED,
    COVERED_BY_CODE,
    Device,
    DeviceProfile,
    covered,
    draw_device_number,
)

TAPS = frozenset({EntryMode.CONTACTLESS_CHIP})
CODES = frozenset({EntryMode.QR})
# What only undoes or completes needs no new cryptogram.
WITHOUT_CRYPTOGRAM = frozenset({Kind.REVERSAL, Kind.COMPLETION, Kind.VOID, Kind.REFUND})


class TokenRefused(IsoswitchError):
    """The token may not pay; ``code`` is what its issuer answers."""

    def __init__(self, code: ResponseCode, reason: str) -> None:
        self.code = code
        super().__init__(reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """An entry of the vault."""

    card: TestCard
    par: str
    requestor_id: str = ""
    domain: frozenset[EntryMode] = TAPS
    is_suspended: bool = False


class TokenService:
    """The vault, and the decision whether a token stands for its card now.

    ``counts`` tells what was refused, and why.
    """

    def __init__(self, master: bytes, *, random: Random) -> None:
        self._master = master
        self._random = random
        self._vault: dict[str, Token] = {}
        # The last counter of each device, and the request that it came with.
        self._last: dict[str, tuple[int, tuple[str, str]]] = {}
        self._pars: dict[str, str] = {}
        self.counts: Counter[str] = Counter()

    def enroll(
        self,
        card: TestCard,
        profile: DeviceProfile,
        *,
        domain: frozenset[EntryMode] = TAPS,
    ) -> Device:
        """Put a card into a device: a number of its own, the account's PAR, a key."""
        pan = draw_device_number(card.pan, self._random)
        par = self._pars.setdefault(card.name, self._draw_par())
        self._vault[pan.reveal()] = Token(
            card=card, par=par, requestor_id=profile.requestor_id, domain=domain
        )
        return Device(profile=profile, pan=pan, par=par, master=self._master)

    def suspend(self, device: Device) -> None:
        """Refuse a device from now on, as when it was lost."""
        number = device.pan.reveal()
        self._vault[number] = replace(self._vault[number], is_suspended=True)

    def resolve(self, txn: Transaction) -> Transaction:
        """Give a transaction with the card behind the token; others as they are.

        Raises
        ------
        TokenRefused
            Suspended, outside its domain, or without a cryptogram of its device.
        """
        token = self._vault.get(txn.pan.reveal()) if txn.pan else None
        if token is None or txn.pan is None:
            return txn
        if token.is_suspended:
            self._refuse(ResponseCode.RESTRICTED_CARD, "suspended")
        # An advice tells what was decided in the issuer's place, perhaps long ago.
        is_told = txn.function is Function.ADVICE
        if txn.kind not in WITHOUT_CRYPTOGRAM and not is_told:
            if txn.entry_mode not in token.domain:
                self._refuse(ResponseCode.CARD_NOT_PERMITTED, "outside its domain")
            self._verify(txn, txn.pan)
            self._verify_owner(txn, token)
        return replace(txn, pan=token.card.pan, expiry=token.card.expiry)

    def _verify(self, txn: Transaction, dpan: Pan) -> None:
        """Check the cryptogram, and that its counter goes forward but for a repeat."""
        try:
            data = decode_tlv(txn.emv.reveal() if txn.emv else b"")
        except DecodeError:
            self._refuse(ResponseCode.FORMAT_ERROR, "chip data that make no sense")
        is_code = txn.entry_mode is EntryMode.QR
        tags = COVERED_BY_CODE if is_code else COVERED
        values: Mapping[str, bytes] = {
            tag: value
            for tag in (*tags, "9F26")
            if (value := data.find(tag)) is not None
        }
        if len(values) != len(tags) + 1:
            self._refuse(ResponseCode.SECURITY_VIOLATION, "without a cryptogram")
        atc = values["9F36"]
        expected = make_arqc(self._master, dpan, "00", atc, covered(values, tags))
        amount = txn.amount.minor if txn.amount else 0
        is_other = not is_code and int(values["9F02"].hex()) != amount
        if expected != values["9F26"] or is_other:
            self._refuse(ResponseCode.SECURITY_VIOLATION, "wrong cryptogram")
        last, request = self._last.get(dpan.reveal(), (0, ("", "")))
        number, this = int.from_bytes(atc), (txn.acquirer_id, txn.rrn)
        # The network may bring a request twice, which is then not marked as a repeat.
        is_again = txn.is_repeat or this == request
        if number < last or (number == last and not is_again):
            self._refuse(ResponseCode.SECURITY_VIOLATION, "an old cryptogram")
        self._last[dpan.reveal()] = number, this

    def _verify_owner(self, txn: Transaction, token: Token) -> None:
        """Check that the device names its own account and wallet, where it names any.

        No cryptogram covers them, and hosts count by what they say.
        """
        assert txn.emv is not None, "its cryptogram was verified"
        try:
            told = find_token(decode_tlv(txn.emv.reveal()))
        except DecodeError:
            self._refuse(ResponseCode.FORMAT_ERROR, "chip data that make no sense")
        if told is None:
            return
        if told.par and told.par != token.par:
            self._refuse(ResponseCode.SECURITY_VIOLATION, "the PAR of another")
        if told.requestor_id and told.requestor_id != token.requestor_id:
            self._refuse(ResponseCode.SECURITY_VIOLATION, "the wallet of another")

    def _refuse(self, code: ResponseCode, reason: str) -> NoReturn:
        self.counts[reason] += 1
        raise TokenRefused(code, reason)

    def _draw_par(self) -> str:
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
        return "V001" + "".join(self._random.choices(letters, k=25))
