"""Working keys that simulated ends share with the switch, while they change.

The other end of a key exchange: it makes keys, takes keys, and accepts the old one
beside the new one. Keys travel under a key encryption key, as they would to a real
host, and are wrapped by psec and ``cryptography``: not the code of ``hsm/``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import TypeVar

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC
from psec import tr31

from isoswitch.codecs.canonical.errors import VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.codecs.dialects.key_change import KeyPurpose, TransportedKey
from isoswitch.hsm.engine import Algorithm
from isoswitch.simulators.keyring import SharedKey

R = TypeVar("R")

# So many offers may stay without an answer before the oldest is forgotten.
OFFERED_MAX = 8
# As much of a check value as the block of either cipher has.
FINGERPRINT_BYTES = 8

_VERSIONS = {Algorithm.TDES: "B", Algorithm.AES: "D"}
_LETTERS = {Algorithm.TDES: "T", Algorithm.AES: "A"}
_RETAIL_MAC, _CMAC, _PIN = "M3", "M6", "P0"
_CHECK_BYTES = {Algorithm.TDES: 3, Algorithm.AES: 5}


class WorkingKeys:
    """The versions of one key: the one in use, and others that are accepted.

    Without a limit in time: a simulated end forgets an old key when two more came. A
    key that was offered comes into use when the other end says that it took it, or
    shows it by using it. ``on_use`` is told of each key that comes into use, so that
    it outlives a restart.
    """

    def __init__(
        self, key: SharedKey, *, on_use: Callable[[SharedKey], None] = lambda _: None
    ) -> None:
        self.active = key
        self._others: tuple[SharedKey, ...] = ()
        self._offered: tuple[SharedKey, ...] = ()
        self._on_use = on_use
        self._used = {_print_of(key)}

    def __iter__(self) -> Iterator[SharedKey]:
        yield self.active
        yield from self._offered
        yield from self._others

    def accept(self, key: SharedKey) -> None:
        """Accept a key that was offered beside the one in use."""
        self._offered = (key, *self._offered)[:OFFERED_MAX]

    def use(self, key: SharedKey) -> None:
        """Use a key from now on; the present one is accepted still."""
        if key != self.active:
            known = (each for each in self._others if each != key)
            self._others = (self.active, *known)[:2]
            # What was offered before it is out of date: a message from then must not
            # bring it into use.
            offered = self._offered
            self._offered = offered[: offered.index(key)] if key in offered else ()
            self.active = key
            self._used.add(_print_of(key))
            self._on_use(key)

    def is_replayed(self, key: SharedKey) -> bool:
        """Whether a key that is sent as a new one has had its time."""
        return key != self.active and _print_of(key) in self._used

    def drop(self, key: SharedKey) -> None:
        """Accept a key no longer."""
        self._forget(key)
        self._others = tuple(each for each in self._others if each != key)

    def try_each(self, attempt: Callable[[SharedKey], R]) -> R:
        """Give what the first key that fits gives; raises what the last one raises."""
        *others, last = self
        for key in others:
            try:
                return self._try(key, attempt)
            except VerificationFailed:
                continue
        return self._try(last, attempt)

    def _try(self, key: SharedKey, attempt: Callable[[SharedKey], R]) -> R:
        result = attempt(key)
        if key in self._offered:
            self.use(key)
        return result

    def _forget(self, key: SharedKey) -> None:
        self._offered = tuple(each for each in self._offered if each != key)


def _print_of(key: SharedKey) -> bytes:
    return check_value_of(key, FINGERPRINT_BYTES)


def draw_key(random: Random, cipher: Algorithm) -> SharedKey:
    """Draw a new key; TDES with odd parity."""
    octets = random.randbytes(16)
    if cipher is Algorithm.TDES:
        octets = bytes(octet ^ (octet.bit_count() % 2 == 0) for octet in octets)
    return SharedKey(cipher=cipher, value=KeyValue(octets))


def check_value_of(key: SharedKey, size: int = 0) -> bytes:
    """Compute the check value of a key: zeros under TDES, the CMAC of zeros for AES."""
    size = size or _CHECK_BYTES[key.cipher]
    value = key.value.reveal()
    if key.cipher is Algorithm.TDES:
        return _triple_des(key).encryptor().update(bytes(8))[:size]
    cmac = CMAC(AES(value))
    cmac.update(bytes(16))
    return cmac.finalize()[:size]


def wrap_key(
    kek: SharedKey, key: SharedKey, purpose: KeyPurpose, *, is_block: bool
) -> TransportedKey:
    """Protect a key for the switch, which may use it as its own side does."""
    value, check_value = key.value.reveal(), check_value_of(key)
    if not is_block:
        payload = _triple_des(kek).encryptor().update(value)
        return TransportedKey(payload=payload, check_value=check_value)
    usage, mode = _PIN, "E"
    if purpose is KeyPurpose.MAC:
        usage = _RETAIL_MAC if key.cipher is Algorithm.TDES else _CMAC
        mode = "C"
    header = tr31.Header(
        _VERSIONS[kek.cipher], usage, _LETTERS[key.cipher], mode, "00", "N"
    )
    block = tr31.wrap(kek.value.reveal(), header, value)
    return TransportedKey(
        payload=block.encode(), check_value=check_value, is_block=True
    )


def unwrap_key(kek: SharedKey, sent: TransportedKey, cipher: Algorithm) -> SharedKey:
    """Open a key that the switch sent, and check it.

    Raises
    ------
    VerificationFailed
        It does not open, or has another check value.
    """
    if sent.is_block:
        try:
            block = sent.payload.decode("latin-1")
            _, value = tr31.unwrap(kek.value.reveal(), block)
        except (tr31.KeyBlockError, tr31.HeaderError):
            msg = "the key block does not open"
            raise VerificationFailed(msg) from None
    else:
        value = _triple_des(kek).decryptor().update(_without_filler(sent.payload))
    # A single length key is the left half twice.
    key = SharedKey(
        cipher=cipher, value=KeyValue(value * (2 if len(value) == 8 else 1))
    )
    if check_value_of(key, len(sent.check_value) or 1)[: len(sent.check_value)] != (
        sent.check_value
    ):
        msg = "the key has another check value"
        raise VerificationFailed(msg)
    return key


def _without_filler(payload: bytes) -> bytes:
    """Leave out the zeros that make keys of one message equally long."""
    while len(payload) > 8 and not any(payload[-8:]):
        payload = payload[:-8]
    return payload


def _triple_des(key: SharedKey) -> Cipher[modes.ECB]:
    value = key.value.reveal()
    three_keys = value if len(value) == 24 else value + value[:8]
    return Cipher(TripleDES(three_keys), modes.ECB())  # noqa: S305  # single blocks
