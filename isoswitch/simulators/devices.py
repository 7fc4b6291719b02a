"""Things that people tap: contactless cards, telephones and watches, as profiles.

A profile is data: application, token requestor, how the device says that it verified
its holder. A ``Device`` is one of them, with its number, counter and key.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import Random

from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.secrets import Pan, ScannedCode, Secret
from isoswitch.codecs.emv.tlv import TlvList, primitive, template
from isoswitch.codecs.qr.cpm import build_cpm
from isoswitch.simulators.card_crypto import make_arqc

# What the cryptogram covers, in this order (CDOL1 of these simulated applications).
COVERED = (
    "9F02",
    "9F03",
    "9F1A",
    "95",
    "5F2A",
    "9A",
    "9C",
    "9F37",
    "82",
    "9F36",
    "9F10",
)
# Key index 01, cryptogram version 18, verification results.
ISSUER_DATA = "06011203A00000"

COVERED_BY_CODE = ("82", "9F36", "9F37")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceProfile:
    """A kind of device.

    ``verified`` are the tags that say that the device verified its holder,
    ``unverified`` those that say that it did not.
    """

    aid: str
    requestor_id: str = ""
    form_factor: str = ""
    aip: str = "3900"
    verified: Mapping[str, str] = field(default_factory=dict)
    unverified: Mapping[str, str] = field(default_factory=dict)


PROFILES: Mapping[str, DeviceProfile] = {
    "visa-card": DeviceProfile(aid="A0000000031010", unverified={"9F6C": "0000"}),
    "apple-pay-like": DeviceProfile(
        aid="A0000000031010",
        requestor_id="40010030273",
        form_factor="01000000",
        verified={"9F6C": "0080"},
        unverified={"9F6C": "0000"},
    ),
    "google-pay-like": DeviceProfile(
        aid="A0000000041010",
        requestor_id="40010075001",
        aip="1B80",
        verified={"9F34": "010002"},
        unverified={"9F34": "1F0302"},
    ),
    "unionpay-like": DeviceProfile(
        aid="A000000333010101",
        requestor_id="62010000001",
        verified={"9F6C": "0080"},
        unverified={"9F6C": "0000"},
    ),
}


@dataclass(slots=True, kw_only=True)
class Device:
    """One card or device: what it is, the number it pays with, and its counter.

    ``pan`` is the number on the card, or the device's own; ``par`` names the account
    behind it, empty for a card.
    """

    profile: DeviceProfile
    pan: Pan
    master: bytes = field(repr=False)
    par: str = ""
    atc: int = 0

    def tap(
        self, amount: Money, *, holder_verified: bool, random: Random
    ) -> Secret[bytes]:
        """Give the chip data (DE 55) of one tap, with a fresh cryptogram."""
        self.atc += 1
        values = {
            "82": self.profile.aip,
            "84": self.profile.aid,
            "95": "0000000000",
            "9A": "260601",
            "9C": "00",
            "5F2A": f"{amount.currency:0>4}",
            "9F02": f"{amount.minor:012}",
            "9F03": "0" * 12,
            "9F10": ISSUER_DATA,
            "9F1A": "0276",
            "9F27": "80",
            "9F36": f"{self.atc:04x}",
            "9F37": random.randbytes(4).hex(),
            **(self.profile.verified if holder_verified else self.profile.unverified),
        }
        if self.profile.form_factor:
            values["9F6E"] = self.profile.form_factor
        values |= self._owner()
        values["9F26"] = make_arqc(
            self.master,
            self.pan,
            "00",
            bytes.fromhex(values["9F36"]),
            covered({tag: bytes.fromhex(values[tag]) for tag in COVERED}),
        ).hex()
        objects = (primitive(tag, bytes.fromhex(text)) for tag, text in values.items())
        return Secret(TlvList(tuple(objects)).encode())

    def show_code(self, random: Random) -> ScannedCode:
        """Show a consumer-presented code with a fresh cryptogram.

        Its cryptogram covers no amount: the shopper shows it before there is one.
        """
        self.atc += 1
        values = {
            "82": self.profile.aip,
            "9F36": f"{self.atc:04x}",
            "9F37": random.randbytes(4).hex(),
        }
        values |= self._owner()
        values["9F26"] = make_arqc(
            self.master,
            self.pan,
            "00",
            bytes.fromhex(values["9F36"]),
            covered(
                {tag: bytes.fromhex(values[tag]) for tag in COVERED_BY_CODE},
                COVERED_BY_CODE,
            ),
        ).hex()
        told = (primitive(tag, bytes.fromhex(text)) for tag, text in values.items())
        application = (
            primitive("4F", bytes.fromhex(self.profile.aid)),
            primitive("5A", bytes.fromhex(self.pan.reveal())),
            template("63", told),
        )
        return ScannedCode(build_cpm([template("61", application)]).encode())

    def _owner(self) -> dict[str, str]:
        """Give what names the wallet and the account, of a device that has them."""
        owner = {}
        if self.par and self.profile.requestor_id:
            owner["9F19"] = f"{self.profile.requestor_id:0>12}"
        if self.par:
            owner["9F24"] = self.par.encode().hex()
        return owner


def covered(values: Mapping[str, bytes], tags: Iterable[str] = COVERED) -> bytes:
    """Give the data that a cryptogram covers."""
    return b"".join(values[tag] for tag in tags)


def draw_device_number(card: Pan, random: Random) -> Pan:
    """Draw a device number of the same issuer as a card: a valid one, never the card's.

    It is drawn for each run and stands in no file.
    """
    while True:
        digits = card.leading(8) + f"{random.randrange(10**7):07}"
        drawn = digits + _check_digit(digits)
        if drawn != card.reveal():
            return Pan(drawn)


def _check_digit(digits: str) -> str:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * 2 if place % 2 == 0 else int(digit)
        total += doubled - 9 if doubled > 9 else doubled
    return str(-total % 10)
