"""What a layout of a host command is made of.

Both sides of the wire read layouts: the client encodes requests and decodes answers by
them, the simulator the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

Value = str | bytes
Values = Mapping[str, Value]
When = Callable[[Values], bool]

KEY_BLOCK = "S"
"""The letter in front of a key block under the unit's master key."""

KEY_SCHEMES: Mapping[str, int] = {"X": 32, "U": 32, "Y": 48, "T": 48}
"""The hexadecimal digits behind the letter of every other scheme."""

_HEADER = 16


class Form(Enum):
    """How a value is written."""

    TEXT = "printable characters"
    DIGITS = "decimal digits"
    HEX = "bytes as hexadecimal digits"
    BYTES = "bytes as they are"
    KEY = "a wrapped key, whose first characters tell its length"


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a command.

    Without ``size``, ``counted`` and ``until`` the value reaches to the end; only a
    key has a length of its own.

    Parameters
    ----------
    size
        Characters of text and digits, bytes of everything else.
    counted
        How many hexadecimal digits in front count the bytes of the value.
    until
        The character that ends the value.
    marker
        The character that the value stands behind; without it the field is absent.
    constant
        What the field always holds.
    when
        Whether the field is there, by the fields before it; None means always.
    """

    name: str
    form: Form
    size: int | None = None
    counted: int = 0
    until: str = ""
    marker: str = ""
    constant: str = ""
    when: When | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One host command.

    ``warnings`` are the error codes besides 00 under which the command was done.
    """

    code: str
    request: tuple[Field, ...]
    response: tuple[Field, ...] = ()
    warnings: frozenset[str] = frozenset()

    @property
    def response_code(self) -> str:
        """The letters of the answer: the second one moves on by one.

        Examples
        --------
        >>> Layout(code="M8", request=()).response_code
        'M9'
        """
        return self.code[0] + chr(ord(self.code[1]) + 1)


def is_one_of(name: str, values: str) -> When:
    """Give the condition that a field before holds one of these characters."""
    return lambda known: known[name] in tuple(values)


def is_aes(*keys: str) -> When:
    """Give the condition that at least one of these fields holds an AES key."""
    return lambda known: any(algorithm_of(str(known[key])) == "A" for key in keys)


def is_tdes(*keys: str) -> When:
    """Give the condition that all of these fields hold TDES keys."""
    return lambda known: not is_aes(*keys)(known)


def algorithm_of(key: str) -> str:
    """Give the algorithm of a wrapped key by its letter in key blocks.

    Examples
    --------
    >>> algorithm_of("U34E2FC8EAD7CD07BFA2B7ED5FE4D8212")
    'T'
    """
    return key[8] if key.startswith(KEY_BLOCK) else "T"


def key_length(start: str) -> int | None:
    """Give the characters of a wrapped key by its first ones; None if it is none.

    Examples
    --------
    >>> key_length("U34E2FC8EAD7CD07BFA2B7ED5FE4D8212"), key_length("S00072K0TB00E00")
    (33, 73)
    """
    scheme, length = start[:1], start[2:6]
    if scheme == KEY_BLOCK:
        is_length = len(length) == 4 and length.isascii() and length.isdecimal()
        return 1 + int(length) if is_length and int(length) > _HEADER else None
    digits = KEY_SCHEMES.get(scheme)
    return None if digits is None else 1 + digits
