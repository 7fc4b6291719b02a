"""The search for secrets in clear: in logs, errors, store files, command output.

Each secret is looked for in every form in which a program may spill it: as text in
ASCII, UTF-16 and EBCDIC, grouped in fours, as packed digits at either nibble, as
hexadecimal text and as base64. What is found is told by the name of the secret and the
place, never by its value.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from isoswitch.simulators.cards import TestCard
from isoswitch.simulators.keyring import Keyring

BYTES_MIN = 6
"""Shorter secrets, such as a PIN of four digits, are found everywhere by chance."""
DIGITS_MIN = 4
"""With fewer digits other than zero, a number is found between nibbles by chance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """A secret found in clear: which, in what form, and where."""

    secret: str
    form: str
    offset: int

    def __str__(self) -> str:
        return f"{self.secret} in clear as {self.form} at byte {self.offset}"


def find_clear(data: bytes, secrets: Mapping[str, str | bytes]) -> list[Leak]:
    """Give the first place of every form of every secret in the data.

    Text secrets (card numbers, tracks) are looked for as digits and characters, byte
    secrets (PIN blocks, keys) as bytes.

    Raises
    ------
    ValueError
        A secret is too short to be told from chance.

    Examples
    --------
    >>> leaks = find_clear(b"pan=4111111111111111", {"card": "4111111111111111"})
    >>> [str(leak) for leak in leaks]
    ['card in clear as text at byte 4']
    """
    hexed = data.hex().encode()
    leaks = []
    for name, secret in secrets.items():
        if len(secret) < BYTES_MIN:
            msg = f"{name} is too short to be told from chance"
            raise ValueError(msg)
        for form, needle in _forms(secret):
            offset = data.find(needle)
            if offset >= 0:
                leaks.append(Leak(secret=name, form=form, offset=offset))
        if isinstance(secret, str) and secret.isdecimal():
            offset = _find_packed(hexed, secret.encode())
            if offset >= 0:
                leaks.append(Leak(secret=name, form="packed digits", offset=offset))
    return leaks


def _find_packed(hexed: bytes, digits: bytes) -> int:
    """Give the byte at which digits begin, at either nibble; -1 if nowhere.

    A number of hardly anything but zeros counts at whole bytes only: between nibbles
    the pages of a database are full of it.
    """
    offset = hexed.find(digits)
    needs_byte = len(digits) - digits.count(b"0") < DIGITS_MIN
    while needs_byte and offset > 0 and offset % 2:
        offset = hexed.find(digits, offset + 1)
    return offset // 2


def card_secrets(cards: Iterable[TestCard]) -> dict[str, str]:
    """Give the card numbers to look for, by card name."""
    return {f"PAN of {card.name}": card.pan.reveal() for card in cards}


def key_secrets(keyring: Keyring) -> dict[str, bytes]:
    """Give the keys to look for, by key name; every half of a key counts."""
    return {
        f"key {name} part {place}": value[place : place + 8]
        for name, value in keyring.clear_values().items()
        for place in range(0, len(value), 8)
    }


def _forms(secret: str | bytes) -> Iterator[tuple[str, bytes]]:
    octets = secret.encode() if isinstance(secret, str) else secret
    yield "text" if isinstance(secret, str) else "bytes", octets
    yield "hexadecimal", octets.hex().encode()
    yield "hexadecimal", octets.hex().upper().encode()
    for lead in range(3):
        yield "base64", _base64_core(octets, lead)
    if isinstance(secret, str):
        yield "EBCDIC", secret.encode("cp500")
        yield "UTF-16", secret.encode("utf-16-le")
        for separator in " -":
            fours = (secret[start : start + 4] for start in range(0, len(secret), 4))
            yield "text in groups", separator.join(fours).encode()


def _base64_core(octets: bytes, lead: int) -> bytes:
    """Give the base64 characters that depend on these octets only.

    ``lead`` is how many foreign bytes stand before them in their group of three.
    """
    text = base64.b64encode(bytes(lead) + octets)
    bits_before, bits_all = 8 * lead, 8 * (lead + len(octets))
    return text[-(-bits_before // 6) : bits_all // 6]
