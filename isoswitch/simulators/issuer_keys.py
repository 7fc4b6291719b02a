"""A simulated issuer's side of key changes: it takes keys, and sends some itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from random import Random

import trio

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError, VerificationFailed
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.dialects.edition import Fields
from isoswitch.codecs.dialects.key_change import (
    KeyPurpose,
    TransportedKey,
    read_key_change,
    write_key_change,
)
from isoswitch.codecs.iso8583.message import Message
from isoswitch.simulators.keyring import SharedKey
from isoswitch.simulators.working_keys import (
    WorkingKeys,
    check_value_of,
    draw_key,
    unwrap_key,
    wrap_key,
)

FIRST_STAN = 900_001


@dataclass(slots=True, eq=False)
class KeyOffer:
    """A key that was sent to the switch, and what the switch said."""

    stan: str
    fields: Fields
    key: SharedKey
    purpose: KeyPurpose
    code: ResponseCode | None = None
    answered: trio.Event = field(default_factory=trio.Event)


class IssuerKeys:
    """The keys of one issuer by purpose, and the key that protects new ones.

    ``counts`` tells how many keys were taken, refused, and sent again after their time.
    """

    def __init__(
        self,
        keys: Mapping[KeyPurpose, WorkingKeys],
        *,
        kek: SharedKey | None,
        is_legacy: bool,
        random: Random,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._keys = keys
        self._kek = kek
        self._is_legacy = is_legacy
        self._random = random
        self._offers: dict[str, KeyOffer] = {}
        self._next_stan = FIRST_STAN

    def take(self, dialect: Dialect, request: Message) -> tuple[Outcome, Fields]:
        """Take a key that the switch sends; gives the outcome and what proves it."""
        try:
            purpose, sent = read_key_change(dialect, request)
            if self._kek is None or sent.is_block is self._is_legacy:
                return Outcome.declined(ResponseCode.SECURITY_VIOLATION), {}
            keys = self._keys[purpose]
            key = unwrap_key(self._kek, sent, keys.active.cipher)
        except DecodeError:
            return Outcome.declined(ResponseCode.FORMAT_ERROR), {}
        except VerificationFailed:
            self.counts["refused"] += 1
            return Outcome.declined(ResponseCode.CRYPTOGRAPHIC_ERROR), {}
        if keys.is_replayed(key):
            # Whoever recorded the message could bring an old key back.
            self.counts["replayed"] += 1
            return Outcome.declined(ResponseCode.SECURITY_VIOLATION), {}
        self.counts["taken"] += 1
        keys.use(key)
        told = TransportedKey(
            payload=b"", check_value=check_value_of(key), is_block=sent.is_block
        )
        fields = write_key_change(dialect, purpose, told)
        return Outcome(code=ResponseCode.APPROVED), fields

    def offer(
        self, dialect: Dialect, purpose: KeyPurpose, *, is_spoilt: bool
    ) -> KeyOffer:
        """Make a new key for the switch; it is accepted from now on."""
        assert self._kek is not None, "an issuer without a kek changes no keys"
        keys = self._keys[purpose]
        key = draw_key(self._random, keys.active.cipher)
        sent = wrap_key(self._kek, key, purpose, is_block=not self._is_legacy)
        if is_spoilt:
            wrong = bytes(octet ^ 0xFF for octet in sent.check_value)
            sent = replace(sent, check_value=wrong)
        else:
            keys.accept(key)
        offer = KeyOffer(
            stan=f"{self._next_stan:06d}",
            fields=write_key_change(dialect, purpose, sent),
            key=key,
            purpose=purpose,
        )
        self._next_stan += 1
        self._offers[str(int(offer.stan))] = offer
        return offer

    def take_answer(self, dialect: Dialect, answer: Message) -> bool:
        """Use an offered key once the switch took it; False if nobody asked."""
        stan = str(answer.get(11, ""))
        offer = self._offers.pop(str(int(stan)) if stan.isdecimal() else "", None)
        if offer is None:
            return False
        offer.code = dialect.to_code(answer)
        keys = self._keys[offer.purpose]
        if offer.code is ResponseCode.APPROVED:
            keys.use(offer.key)
        else:
            keys.drop(offer.key)
        offer.answered.set()
        return True
