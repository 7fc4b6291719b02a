"""The types of configured values, and what their patterns mean to people."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from isoswitch.codecs.canonical.money import CURRENCIES

PATTERNS = {
    r"^[a-z][a-z0-9-]{0,31}$": "a lower-case name: letters, digits, hyphens",
    r"^[a-z0-9][a-z0-9/_.-]{0,63}$": "a key name of a-z, 0-9 and /_.-",
    r"^([01]\d|2[0-3]):[0-5]\d$": "a time of day from 00:00 to 23:59, in quotes",
    r"^\d{3}$": "three digits, in quotes",
    r"^\d{4}$": "four digits, in quotes",
    r"^\d{1,11}$": "up to 11 digits, in quotes",
    r"^\d{6,11}(\.\.\d{6,11})?$": "a BIN of 6 to 11 digits, or a range in quotes",
    r"^\d{2}(\.\.\d{2})?$": "the two digits codes begin with, or a range in quotes",
    r"^\d{4}(-\d{4})?$": "four digits, or a range such as 3000-3299, in quotes",
    r"^\d{1,12}(\.\d{1,4})?$": "an amount in major units, such as 12.50, in quotes",
    r"^[A-Z]{1,2}$": "one or two capital letters",
    r"^\d(\.\d{1,8})?$": "a share such as 0.0125, in quotes",
    r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$": "hours such as 22:00-06:00",
    r"^[ -~]{1,8}$": "a terminal id of 1 to 8 characters (DE 41)",
    r"^([0-9A-Fa-f]{2})+$": "pairs of hexadecimal digits",
    r"^[A-Za-z0-9.-]{1,253}:\d{1,5}$": "an address as host:port",
    r"^[0-9A-F]{6,16}$": "6 to 16 upper-case hexadecimal digits",
    r"^[0-9A-F]{3}$": "three upper-case hexadecimal digits, in quotes",
    r"^\d{2}$": "two digits, in quotes",
    r"^[ -~]{1,15}$": "a merchant id of 1 to 15 characters (DE 42)",
    r"^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$": "a BIC of 8 or 11 characters",
    r"^[A-Z0-9]{5,34}$": "an IBAN or account number without spaces",
    r"^[A-Z0-9]{4}$": "a reason of four capital letters and digits, such as DUPL",
    r"^[A-Za-z0-9._-]{1,64}$": "a name of letters, digits and ._-",
    r"^[A-Z]{2}$": "a country of two capital letters, such as DE",
    r"^https?://[^\s@]{1,500}$": "an address such as https://shop.example/hook",
}
"""What each pattern of the types below means, for people."""


_LABEL = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
# What ends in a number is an address and no name (URL Standard, 3.5).
_HOST_NAME = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.)*(?![0-9]+\.?$){_LABEL}\.?")


def _check_host(text: str) -> str:
    """Give a host as it was written, if it is an address or can be a name."""
    try:
        if not _HOST_NAME.fullmatch(text.encode("idna").decode().lower()):
            ip_address(text)
    except ValueError:
        msg = 'not a host, such as "192.0.2.7", "2001:db8::7" or "bank.example"'
        raise ValueError(msg) from None
    return text


def _check_callback_url(text: str) -> str:
    """Give an address to call as it was written, if its host can be one."""
    try:
        parts = urlsplit(text)
        _check_host(parts.hostname or "")
        can_be = parts.port != 0
    except ValueError:
        can_be = False
    if not can_be:
        msg = "no host has such a name; write one as in https://shop.example/hook"
        raise ValueError(msg)
    return text


def _check_currency(text: str) -> str:
    """Give the number of a currency as it was written, if we know its decimals."""
    if text not in CURRENCIES:
        msg = 'no currency of ISO 4217 has this number, as the euro has "978"'
        raise ValueError(msg)
    return text


def _check_peer_network(text: str) -> str:
    """Give an address or network as it was written, if it is one."""
    try:
        ip_network(text)
    except ValueError:
        msg = 'not an address or network, such as "192.0.2.7" or "192.0.2.0/24"'
        raise ValueError(msg) from None
    return text


def _check_unit(text: str) -> str:
    """Give host:port as it was written, if the host is one."""
    _check_host(text.rpartition(":")[0])
    return text


Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,31}$")]
KeyName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9/_.-]{0,63}$")]
NumericCode = Annotated[str, StringConstraints(pattern=r"^\d{3}$")]
CurrencyNumber = Annotated[
    str, StringConstraints(pattern=r"^\d{3}$"), AfterValidator(_check_currency)
]
CategoryCode = Annotated[str, StringConstraints(pattern=r"^\d{4}$")]
InstitutionId = Annotated[str, StringConstraints(pattern=r"^\d{1,11}$")]
BinDigits = Annotated[str, StringConstraints(pattern=r"^\d{6,11}(\.\.\d{6,11})?$")]
CodeDigits = Annotated[str, StringConstraints(pattern=r"^\d{2}(\.\.\d{2})?$")]
CategoryRange = Annotated[str, StringConstraints(pattern=r"^\d{4}(-\d{4})?$")]
MajorUnits = Annotated[str, StringConstraints(pattern=r"^\d{1,12}(\.\d{1,4})?$")]
ApprovalPrefix = Annotated[str, StringConstraints(pattern=r"^[A-Z]{1,2}$")]
ReasonCode = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{4}$")]
SignerName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Rate = Annotated[str, StringConstraints(pattern=r"^\d(\.\d{1,8})?$")]
Hours = Annotated[
    str,
    StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d-([01]\d|2[0-3]):[0-5]\d$"),
]
TerminalId = Annotated[str, StringConstraints(pattern=r"^[ -~]{1,8}$")]
TokenRange = Annotated[
    str, StringConstraints(pattern=r"^[0-9]{6,11}(\.\.[0-9]{6,11})?$")
]
MerchantId = Annotated[str, StringConstraints(pattern=r"^[ -~]{1,15}$")]
HexDigits = Annotated[str, StringConstraints(pattern=r"^([0-9A-Fa-f]{2})+$")]
PeerNetwork = Annotated[str, AfterValidator(_check_peer_network)]
Host = Annotated[str, AfterValidator(_check_host)]
UnitAddress = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9.-]{1,253}:\d{1,5}$"),
    AfterValidator(_check_unit),
]
Bic = Annotated[
    str, StringConstraints(pattern=r"^[A-Z0-9]{4}[A-Z]{2}[A-Z0-9]{2}([A-Z0-9]{3})?$")
]
AccountNumber = Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]{5,34}$")]
CountryLetters = Annotated[str, StringConstraints(pattern=r"^[A-Z]{2}$")]
CallbackUrl = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[^\s@]{1,500}$"),
    AfterValidator(_check_callback_url),
]
Port = Annotated[int, Field(ge=1, le=65_535)]
FrameBytes = Annotated[int, Field(ge=64, le=65_535)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Percent = Annotated[int, Field(ge=0, le=100)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
FieldNumbers = list[Annotated[int, Field(ge=2, le=128)]]
MatchFields = Annotated[FieldNumbers, Field(min_length=1)]
FileName = Annotated[Path, Field(strict=False)]


class Table(BaseModel):
    """A table of the file; a key that it does not name is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Tls(Table):
    """PEM files of one side of mutual TLS."""

    certificate: FileName
    key: FileName
    ca: FileName
