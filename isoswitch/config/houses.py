"""The configuration of clearing houses: links, accounts, and who is paid over them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import StringConstraints

from isoswitch.config.types import (
    AccountNumber,
    Bic,
    CallbackUrl,
    CountryLetters,
    FileName,
    Host,
    KeyName,
    MerchantId,
    Name,
    Port,
    ReasonCode,
    Seconds,
    SignerName,
    Table,
    Tls,
)


class HouseSignature(Table):
    """Keys for the signatures on a link: ours in the HSM, theirs in a PEM file.

    ``name`` and ``their_name`` are what the two sides call their keys.
    """

    key: KeyName
    name: SignerName
    their_name: SignerName
    their_file: FileName


class HouseAccount(Table):
    """An account that others may pay to: a merchant's, else a customer's."""

    merchant: MerchantId | None = None
    blocked: bool = False


class House(Table):
    """A clearing house for instant transfers: its address, and who we are there.

    ``profile`` chooses the deadlines. With a ``signature`` no document passes unsigned.
    Documents travel in frames over TCP, with ``tls`` over TLS, or by HTTPS.
    ``accounts`` are those at our bank that others may pay to, besides those of payees
    at it. Recalls for the reasons in ``recalls_agreed`` are followed without asking.
    """

    host: Host = "127.0.0.1"
    port: Port
    member: Bic
    profile: Literal["default", "fednow-like", "sct-inst-like", "cnaps-like"] = (
        "default"
    )
    transport: Literal["tcp", "https"] = "tcp"
    tls: Tls | None = None
    signature: HouseSignature | None = None
    accounts: dict[AccountNumber, HouseAccount] = {}
    recalls_agreed: list[ReasonCode] | None = None


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
    ``rules`` say how it misbehaves, in the form that ``isoswitch.simulators.rules``
    describes; its windows end every ``window_s``, or never.
    """

    accounts: list[AccountNumber] = []
    tls: Tls | None = None
    key_file: FileName | None = None
    our_file: FileName | None = None
    rules: list[dict[str, Any]] = []
    window_s: Seconds | None = None
