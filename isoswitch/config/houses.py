"""The configuration of clearing houses: links, accounts, and who is paid over them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from isoswitch.config.types import (
    AccountNumber,
    Bic,
    CallbackUrl,
    CountryLetters,
    FileName,
    KeyName,
    Name,
    Port,
    SignerName,
    Table,
)


class HouseSignature(Table):
    """Keys for the signatures on a link: ours in the HSM, theirs in a PEM file.

    ``name`` and ``their_name`` are what the two sides call their keys.
    """

    key: KeyName
    name: SignerName
    their_name: SignerName
    their_file: FileName


class House(Table):
    """A clearing house for instant transfers: its address, and who we are there.

    ``profile`` chooses the deadlines. With a ``signature`` no document passes unsigned.
    """

    host: str = "127.0.0.1"
    port: Port
    member: Bic
    profile: Literal["default", "fednow-like", "sct-inst-like", "cnaps-like"] = (
        "default"
    )
    signature: HouseSignature | None = None


class Payee(Table):
    """Where a merchant is paid by instant transfer; with it, it has payment codes.

    ``city`` and ``country`` stand in its codes.
    """

    house: Name
    account: AccountNumber
    bank: Bic
    city: Annotated[str, StringConstraints(min_length=1, max_length=15)]
    country: CountryLetters
    callback_url: CallbackUrl | None = None


class SimulatedHouse(Table):
    """A simulated clearing house at the address of the house of its name.

    Its members are our bank, with these ``accounts``, and the banks of the payees. On a
    signed link it signs with ``key_file`` and verifies what we sign by ``our_file``.
    """

    accounts: list[AccountNumber] = []
    key_file: FileName | None = None
    our_file: FileName | None = None
