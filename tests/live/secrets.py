"""What must lie nowhere in clear, and the places to look for it.

A clear PIN is too short to be told from chance; its PIN block is not. Encrypted PIN
blocks count as secrets too, because they are never stored and never logged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from psec.pinblock import encode_pinblock_iso_0

from isoswitch.codecs.canonical.secrets import Pin
from isoswitch.simulators.cards import CARDS, TestCard
from isoswitch.simulators.keyring import Keyring
from isoswitch.simulators.leaks import card_secrets, find_clear, key_secrets
from isoswitch.simulators.terminal_crypto import encrypt_pin

LONG_PIN = Pin("907182635445")
"""A PIN long enough to be looked for as itself."""
TRACK_REMAINDER = "10123450987654321"
"""What follows expiry on the tracks of these tests: service code and more."""

Secrets = Mapping[str, str | bytes]


def all_secrets(keyring: Keyring) -> Secrets:
    """Give everything that files, logs and output must not hold."""
    return {
        **card_secrets(CARDS.values()),
        **key_secrets(keyring),
        **clear_pin_secrets(),
        **encrypted_pin_secrets(keyring),
        "track": TRACK_REMAINDER,
    }


def clear_pin_secrets() -> Secrets:
    """Give the clear PINs in the forms that only the crypto process may see."""
    blocks = {
        f"clear PIN block of {whose}": encode_pinblock_iso_0(
            pin.reveal(), card.pan.reveal()
        )
        for whose, card, pin in _pins()
    }
    return {**blocks, "long PIN": LONG_PIN.reveal()}


def encrypted_pin_secrets(keyring: Keyring) -> Secrets:
    """Give every PIN block as it is under each PIN key of the keyring."""
    return {
        f"PIN block of {whose} under {name}": encrypt_pin(
            keyring.get_key(name), pin, card.pan
        ).reveal()
        for name in keyring.clear_values()
        if name.endswith(("tpk", "zpk"))
        for whose, card, pin in _pins()
    }


def leaks_in_files(folder: Path, secrets: Secrets, *, but: str) -> list[str]:
    """Search every file under a folder but the one that holds the test keys."""
    return [
        f"{path.name}: {leak}"
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != but
        for leak in find_clear(path.read_bytes(), secrets)
    ]


def leaks_in_memory(pid: int, secrets: Secrets) -> list[str]:
    """Search the writable memory of a process, as bytes and as hexadecimal text."""
    needles = {
        needle: name
        for name, secret in secrets.items()
        for needle in _memory_forms(secret)
    }
    return sorted(
        {
            name
            for memory in writable_memory(pid)
            for needle, name in needles.items()
            if needle in memory
        }
    )


def writable_memory(pid: int) -> Iterator[bytes]:
    """Give the writable regions of a process's memory."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            region, rights = line.split()[:2]
            if "w" not in rights:
                continue
            start, end = (int(address, 16) for address in region.split("-"))
            memory.seek(start)
            yield memory.read(end - start)


def _pins() -> Iterator[tuple[str, TestCard, Pin]]:
    for card in CARDS.values():
        yield card.name, card, card.pin
    yield "visa-ok with the long PIN", CARDS["visa-ok"], LONG_PIN


def _memory_forms(secret: str | bytes) -> tuple[bytes, ...]:
    octets = secret.encode() if isinstance(secret, str) else secret
    return octets, octets.hex().encode(), octets.hex().upper().encode()
