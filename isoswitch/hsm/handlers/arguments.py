"""Checking what a command brings; errors never repeat it."""

from __future__ import annotations

from isoswitch.codecs.canonical.errors import HsmError
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.hsm.functions.emv import VERSIONS, CardKeyOption, CryptogramVersion


def pan_of(text: str) -> Pan:
    """Read a PAN.

    Raises
    ------
    HsmError
        Not 8 to 19 digits.
    """
    try:
        return Pan(text)
    except ValueError:
        raise HsmError("the PAN has not 8 to 19 digits") from None


def check_digits(text: str, length: int, name: str) -> None:
    """Refuse what is not this many digits.

    Raises
    ------
    HsmError
        It is not; says which argument.
    """
    if not (len(text) == length and text.isascii() and text.isdecimal()):
        raise HsmError(f"the {name} has not {length} digits")


def check_length(octets: bytes, length: int, name: str) -> None:
    """Refuse what is not this many bytes.

    Raises
    ------
    HsmError
        It is not; says which argument.
    """
    if len(octets) != length:
        raise HsmError(f"the {name} has not {length} bytes")


def check_counter(atc: int) -> None:
    """Refuse what is no application transaction counter.

    Raises
    ------
    HsmError
        It does not fit into two bytes.
    """
    if not 0 <= atc <= 0xFFFF:
        raise HsmError("the transaction counter does not fit into two bytes")


def version_of(name: str) -> CryptogramVersion:
    """Give a cryptogram version by its name.

    Raises
    ------
    HsmError
        There is none of this name.
    """
    version = VERSIONS.get(name)
    if version is None:
        raise HsmError("there is no such cryptogram version")
    return version


def option_of(name: str) -> CardKeyOption:
    """Give a way to derive card keys by its name, A or B.

    Raises
    ------
    HsmError
        There is none of this name.
    """
    try:
        return CardKeyOption[name]
    except KeyError:
        raise HsmError("there is no such way to derive card keys") from None
