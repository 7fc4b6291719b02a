"""The payment commands, in terms of key names, and the port that runs them.

A command is a value; ``Hsm.run`` takes one or several and runs them in order in one
round trip. The first that fails fails them all, so what follows a verification is
never done when it does not verify.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec


class Command(
    msgspec.Struct, frozen=True, tag=True, kw_only=True, array_like=True, gc=False
):
    """One payment command; subclasses say which. Prints without its values."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(***)"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        return []


class VerifyMac(Command, frozen=True, tag=True, kw_only=True):
    """Check a MAC; the algorithm follows from the key's usage. Gives ``b""``.

    Raises ``MacMismatch``. A shorter MAC is compared with the leading bytes.
    """

    key: str
    data: bytes
    mac: bytes


class Splice(msgspec.Struct, frozen=True, kw_only=True, array_like=True, gc=False):
    """Where the result of the command before goes into this command's data."""

    offset: int
    as_hex: bool = False


class GenerateMac(Command, frozen=True, tag=True, kw_only=True):
    """Make a MAC of ``length`` bytes, after putting the last result in its place.

    ``splice`` lets one round trip translate a PIN block, place it in the message and
    authenticate that message.
    """

    key: str
    data: bytes
    length: int = 8
    splice: Splice | None = None


class TranslatePin(Command, frozen=True, tag=True, kw_only=True):
    """Re-encrypt a PIN block from one zone key to another; gives the new block.

    One PAN only: no block can be moved to another card (PCI PIN 3-3). Raises
    ``PinBlockInvalid``.
    """

    source: str
    target: str
    block: bytes
    pan: str
    source_format: int = 0
    target_format: int = 0


class EncryptData(Command, frozen=True, tag=True, kw_only=True):
    """Seal data with AES-GCM; gives nonce, ciphertext and tag in one piece."""

    key: str
    data: bytes
    context: bytes = b""


class DecryptData(Command, frozen=True, tag=True, kw_only=True):
    """Open what ``EncryptData`` sealed under the same context."""

    key: str
    data: bytes
    context: bytes = b""


class HashData(Command, frozen=True, tag=True, kw_only=True):
    """Give the HMAC-SHA-256 of the data, 32 bytes, for look-ups."""

    key: str
    data: bytes


class CheckHealth(Command, frozen=True, tag=True, kw_only=True):
    """Have the engine compute known answers; gives ``b""``.

    Raises ``HsmUnavailable`` when an answer is wrong or does not come.
    """


class ReadMetrics(Command, frozen=True, tag=True, kw_only=True):
    """Give counts and times per command, in the text format of Prometheus."""


class ListKeys(Command, frozen=True, tag=True, kw_only=True):
    """Give name, version, state and check value of the loaded keys, as JSON."""


AnyCommand = (
    VerifyMac
    | GenerateMac
    | TranslatePin
    | EncryptData
    | DecryptData
    | HashData
    | CheckHealth
    | ReadMetrics
    | ListKeys
)
"""What a service is asked; the closed set that crosses the socket."""


class Hsm(Protocol):
    """A crypto service: a process behind a socket, or an engine in this process."""

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        """Run commands in order and give one result for each.

        Raises
        ------
        MacMismatch, PinBlockInvalid
            A verification failed; a business result, never a fault of the service.
        KeyRefused
            An unknown key, or a key used against its usage.
        HsmError
            A command that makes no sense, such as data that is no whole block.
        HsmUnavailable
            The service did not answer in time.
        """
        ...
