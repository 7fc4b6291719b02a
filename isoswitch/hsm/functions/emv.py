"""EMV cryptograms: card keys, session keys, ARQC, ARPC and issuer script MACs.

    issuer master key --PAN, sequence--> card key --counter, number--> session key

Each arrow encrypts two blocks, so both keys stay in the token; the K1|K1 form that a
retail MAC needs is a second derivation (see ``KeyPair``). What differs between the
schemes' cryptogram versions is one row of data each. The exception are Visa's script
MACs, whose session key is the card key plus the counter: that card key passes through
the memory of the crypto process.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum

from isoswitch.codecs.canonical.errors import VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue, Pan
from isoswitch.hsm.engine import Use
from isoswitch.hsm.functions.digits import decimalise
from isoswitch.hsm.functions.key import ENCRYPT, Key, KeyPair
from isoswitch.hsm.functions.mac import MacKey, Padding, generate
from isoswitch.hsm.octets import xor
from isoswitch.hsm.software import SoftwareEngine

CARD_KEY_USES = frozenset({Use.ENCRYPT, Use.DERIVE})


class CardKeyOption(Enum):
    """How a card key is diversified by PAN and sequence number (EMV Book 2, A1.4)."""

    A = "the last 16 digits of PAN and sequence number"
    B = "the hash of both where the PAN is longer than 16 digits, else as A"
    B_ALWAYS = "the hash of both whatever the length, as some hosts read option B"


class SessionKey(Enum):
    """How a session key comes from a card key."""

    NONE = "the card key itself"
    COMMON = "EMV common session key, by the transaction counter"
    MCHIP = "M/Chip, by the counter and the unpredictable number"


class ScriptKey(Enum):
    """How the session key of issuer scripts comes from the card key for scripts."""

    COMMON = "EMV common session key, by the application cryptogram"
    VISA = "the card key plus the transaction counter"


class ArpcMethod(Enum):
    """The two answers of EMV Book 2, 8.2."""

    ENCRYPTED = 1
    AUTHENTICATED = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class CryptogramVersion:
    """What one scheme's cryptogram version does at each step."""

    session: SessionKey
    padding: Padding
    arpc: ArpcMethod
    arpc_session: SessionKey
    script: ScriptKey


VISA_CVN10 = CryptogramVersion(
    session=SessionKey.NONE,
    padding=Padding.ZEROS,
    arpc=ArpcMethod.ENCRYPTED,
    arpc_session=SessionKey.NONE,
    script=ScriptKey.VISA,
)
VISA_CVN18 = CryptogramVersion(
    session=SessionKey.COMMON,
    padding=Padding.BIT,
    arpc=ArpcMethod.AUTHENTICATED,
    arpc_session=SessionKey.COMMON,
    script=ScriptKey.VISA,
)
VISA_CVN22 = CryptogramVersion(
    session=SessionKey.COMMON,
    padding=Padding.BIT,
    arpc=ArpcMethod.AUTHENTICATED,
    arpc_session=SessionKey.COMMON,
    script=ScriptKey.COMMON,
)
MCHIP_SKD = CryptogramVersion(
    session=SessionKey.MCHIP,
    padding=Padding.BIT,
    arpc=ArpcMethod.ENCRYPTED,
    arpc_session=SessionKey.NONE,
    script=ScriptKey.COMMON,
)
"""Mastercard's versions 16 and 17, which differ in the data only."""
MCHIP_COMMON = CryptogramVersion(
    session=SessionKey.COMMON,
    padding=Padding.BIT,
    arpc=ArpcMethod.ENCRYPTED,
    arpc_session=SessionKey.COMMON,
    script=ScriptKey.COMMON,
)
"""Mastercard's versions 20 and 21, which differ in the data only."""

VERSIONS: Mapping[str, CryptogramVersion] = {
    "visa-10": VISA_CVN10,
    "visa-18": VISA_CVN18,
    "visa-22": VISA_CVN22,
    "mastercard-16": MCHIP_SKD,
    "mastercard-17": MCHIP_SKD,
    "mastercard-20": MCHIP_COMMON,
    "mastercard-21": MCHIP_COMMON,
}
"""Every cryptogram version that is known, by scheme and number."""


def derive_card_key(
    master: Key,
    pan: Pan,
    *,
    sequence: str = "00",
    option: CardKeyOption = CardKeyOption.A,
) -> KeyPair:
    """Derive a card's key from the issuer's master key, in the master key's engine.

    Worth keeping as long as a card is likely to return; the caller destroys it.
    ``sequence`` is the two digits of the PAN sequence number (tag 5F34).
    """
    block = card_block(pan, sequence=sequence, option=option)
    return KeyPair.derive(master, block, _inverse(block), CARD_KEY_USES)


def verify_arqc(
    card_key: KeyPair,
    version: CryptogramVersion,
    data: bytes,
    *,
    atc: bytes,
    unpredictable: bytes,
    arqc: bytes,
) -> None:
    """Check the cryptogram of a card over its transaction data.

    Parameters
    ----------
    data
        The values that the version authenticates, concatenated, without padding.
    atc
        The application transaction counter (tag 9F36), two bytes.
    unpredictable
        The terminal's unpredictable number (tag 9F37), four bytes.

    Raises
    ------
    VerificationFailed
        The cryptogram is not the one of this card over this data, or the counter or
        number has a length that none has.
    """
    diversifier = _diversifier(version.session, atc=atc, unpredictable=unpredictable)
    with session_key(card_key, diversifier) as session:
        expected = generate(MacKey.of_pair(session, version.padding), data)
    if not hmac.compare_digest(expected, arqc):
        raise VerificationFailed(_FAILED)


def make_arpc(
    card_key: KeyPair,
    version: CryptogramVersion,
    *,
    atc: bytes,
    unpredictable: bytes,
    arqc: bytes,
    answer: bytes,
) -> bytes:
    """Make the issuer's cryptogram in answer to an ARQC that was verified.

    Parameters
    ----------
    answer
        Method 1: the authorisation response code, two bytes. Method 2: the card
        status update, four bytes, and up to eight bytes of proprietary data.

    Returns
    -------
    bytes
        Eight bytes by method 1, four by method 2.
    """
    kind = version.arpc_session
    diversifier = _diversifier(kind, atc=atc, unpredictable=unpredictable)
    with session_key(card_key, diversifier) as session:
        return _ARPC[version.arpc](session, arqc, answer)


def make_script_mac(
    master: Key,
    version: CryptogramVersion,
    pan: Pan,
    command: bytes,
    *,
    atc: bytes,
    arqc: bytes,
    sequence: str = "00",
    option: CardKeyOption = CardKeyOption.A,
) -> bytes:
    """Make the full MAC of an issuer script command; schemes send 4 to 8 bytes of it.

    Parameters
    ----------
    master
        The issuer's master key for script integrity: to derive, and for Visa's
        versions 10 and 18 to encrypt.
    command
        What is authenticated: the command header, for most schemes counter and
        cryptogram, and the command data, without padding.
    """
    if version.script is ScriptKey.VISA:
        session = _visa_session_key(
            master, card_block(pan, sequence=sequence, option=option), atc
        )
        with session:
            return generate(MacKey.of_pair(session, Padding.BIT), command)
    card_key = derive_card_key(master, pan, sequence=sequence, option=option)
    with card_key, session_key(card_key, arqc) as session:
        return generate(MacKey.of_pair(session, Padding.BIT), command)


@contextmanager
def session_key(card_key: KeyPair, diversifier: bytes | None) -> Iterator[KeyPair]:
    """Derive a session key for one use (EMV Book 2, A1.3.1).

    ``diversifier`` is eight bytes; None gives the card key itself.

    Raises
    ------
    VerificationFailed
        The diversifier has a length that no card's data gives.
    """
    if diversifier is None:
        yield card_key
        return
    if len(diversifier) != 8:
        raise VerificationFailed(_FAILED)
    left = diversifier[:2] + b"\xf0" + diversifier[3:]
    right = diversifier[:2] + b"\x0f" + diversifier[3:]
    with KeyPair.derive(card_key.full, left, right, ENCRYPT) as session:
        yield session


def encrypted_arpc(session: KeyPair, arqc: bytes, answer: bytes) -> bytes:
    """Make an ARPC by method 1: the answer added to the ARQC, encrypted."""
    return session.full.ecb(xor(arqc, answer.ljust(8, b"\x00")))


def authenticated_arpc(session: KeyPair, arqc: bytes, answer: bytes) -> bytes:
    """Make an ARPC by method 2: four bytes of the MAC of ARQC and answer."""
    return generate(MacKey.of_pair(session, Padding.BIT), arqc + answer, length=4)


def card_block(pan: Pan, *, sequence: str, option: CardKeyOption) -> bytes:
    """Give the eight bytes that diversify a master key for a card.

    Examples
    --------
    >>> pan = Pan("5544332211009966")
    >>> card_block(pan, sequence="01", option=CardKeyOption.A).hex()
    '4433221100996601'
    """
    digits = pan.reveal() + sequence
    is_hashed = option is CardKeyOption.B_ALWAYS or (
        option is CardKeyOption.B and len(pan.reveal()) > 16
    )
    if not is_hashed:
        return bytes.fromhex(digits[-16:].rjust(16, "0"))
    # EMV Book 2, A1.4.2; SHA-1 only spreads digits here and protects nothing.
    even = digits.rjust(len(digits) + len(digits) % 2, "0")
    digest = hashlib.sha1(bytes.fromhex(even), usedforsecurity=False).digest()
    return bytes.fromhex(decimalise(digest)[:16])


_FAILED = "the cryptogram does not verify"


_ARPC: Mapping[ArpcMethod, Callable[[KeyPair, bytes, bytes], bytes]] = {
    ArpcMethod.ENCRYPTED: encrypted_arpc,
    ArpcMethod.AUTHENTICATED: authenticated_arpc,
}


def _diversifier(
    session: SessionKey, *, atc: bytes, unpredictable: bytes
) -> bytes | None:
    """Give the block that makes a session key, or None for the card key itself."""
    if session is SessionKey.NONE:
        return None
    tail = bytes(2) + unpredictable if session is SessionKey.MCHIP else bytes(6)
    return atc + tail


def _visa_session_key(master: Key, block: bytes, atc: bytes) -> KeyPair:
    """Add the counter to the card key (VIS, appendix D), in this process."""
    if len(atc) != 2:
        raise VerificationFailed(_FAILED)
    card_key = master.ecb(block + _inverse(block))
    counter = bytes(6) + atc + bytes(6) + _inverse(atc)
    value = KeyValue(xor(card_key, counter))
    return KeyPair.load(SoftwareEngine(), value, ENCRYPT)


def _inverse(data: bytes) -> bytes:
    return bytes(octet ^ 0xFF for octet in data)
