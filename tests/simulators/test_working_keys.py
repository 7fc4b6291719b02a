"""Keys that travel between the switch and a simulated end."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.errors import VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.codecs.dialects.key_change import KeyPurpose, TransportedKey
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.functions import tr31
from isoswitch.hsm.functions.key import MAC, Key
from isoswitch.hsm.functions.tr31 import Header, ProtectionKey
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.simulators.determinism import deterministic
from isoswitch.simulators.keyring import SharedKey
from isoswitch.simulators.working_keys import WorkingKeys, unwrap_key, wrap_key

KEK = SharedKey(cipher=Algorithm.AES, value=KeyValue(bytes(range(16))))
KEY = SharedKey(cipher=Algorithm.TDES, value=KeyValue(bytes(range(16, 32))))


def block() -> TransportedKey:
    return wrap_key(KEK, KEY, KeyPurpose.PIN, is_block=True)


def test_a_key_block_of_ours_opens() -> None:
    assert unwrap_key(KEK, block(), KEY.cipher) == KEY


@pytest.mark.parametrize("octets", [b"\xc2\x18", b"\x00\x00", "é".encode(), b"ZZ"])
def test_a_key_block_that_was_cut_up_on_its_way_is_refused(octets: bytes) -> None:
    payload = block().payload[:-2] + octets
    sent = TransportedKey(payload=payload, check_value=b"", is_block=True)
    with pytest.raises(VerificationFailed):
        unwrap_key(KEK, sent, KEY.cipher)


def test_a_story_wraps_its_keys_in_the_same_blocks() -> None:
    """Their filling is drawn too, and a frame may be cut up and read otherwise."""

    def wrapped() -> tuple[bytes, str]:
        with deterministic(7):
            key = Key.load(SoftwareEngine(), KEK.value, Algorithm.AES, MAC)
            header = Header(version="D", usage="P0", algorithm="T", mode="E")
            ours = tr31.wrap(ProtectionKey(key, 16), header, KEY.value)
            return block().payload, ours.encode().decode()

    assert wrapped() == wrapped()


def test_what_was_offered_before_the_key_in_use_does_not_come_into_use() -> None:
    def draw(number: int) -> SharedKey:
        return SharedKey(cipher=Algorithm.TDES, value=KeyValue(bytes([number] * 16)))

    first, early, between, late = map(draw, (1, 2, 4, 7))
    keys = WorkingKeys(first)
    keys.accept(early)
    keys.use(between)
    keys.accept(late)
    assert list(keys) == [between, late, first]
    keys.use(late)
    assert list(keys) == [late, between, first]
