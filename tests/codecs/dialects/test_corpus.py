"""Real messages of public sources mean what their fields say."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from isoswitch.codecs.canonical.codes import EntryMode, Kind
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.dialects.dates import resolve_year
from isoswitch.codecs.dialects.dialect import LegNumbers
from isoswitch.codecs.dialects.registry import get_dialect
from tests.shared import corpus

NOW = datetime(2026, 6, 15, tzinfo=UTC)

# Case, dialect, kind, amount, entry mode, month and day of transmission.
EXPECTED = {
    ("ascii87.json", "dommytt-0200-hexascii"): (
        "iso87-ascii", Kind.PURCHASE, Money(1000, "978"), EntryMode.UNKNOWN, (3, 18)),
    ("ascii87.json", "zemuldo-0800-hexbitmap"): (
        "iso87-ascii", Kind.ECHO, None, EntryMode.UNKNOWN, (11, 25)),
    ("ascii87.json", "moov-0800-mgmt"): (
        "iso87-ascii", Kind.SIGN_ON, None, EntryMode.UNKNOWN, (4, 20)),
    ("ascii87.json", "moov-0420-advice"): (
        "iso87-ascii", Kind.REVERSAL, Money(30000, "978"), EntryMode.UNKNOWN, (1, 9)),
    ("ascii87.json", "moov-0401-repeat"): (
        "iso87-ascii", Kind.REVERSAL, Money(30000, "360"), EntryMode.UNKNOWN, (1, 9)),
    ("cup-pos.json", "cup-pay-request"): (
        "cup-pos", Kind.PURCHASE, Money(1111, "156"), EntryMode.CONTACTLESS_CHIP, None),
    ("cup-pos.json", "cup-blog-0200-purchase"): (
        "cup-pos", Kind.PURCHASE, Money(1, "156"), EntryMode.CONTACTLESS_CHIP, None),
    ("cup-pos.json", "cup-blog-0800-signin-3des"): (
        "cup-pos", Kind.SIGN_ON, None, EntryMode.UNKNOWN, None),
    ("cups.json", "cups-0200-purchase"): (
        "cups-interchange", Kind.PURCHASE, Money(123, "156"),
        EntryMode.CONTACTLESS_CHIP, (2, 5)),
    ("visa.json", "visa-07"): (
        "visa-vip-like", Kind.PURCHASE, Money(4200, "840"),
        EntryMode.CONTACTLESS_CHIP, (8, 16)),
    ("visa.json", "visa-08"): (
        "visa-vip-like", Kind.PURCHASE, Money(4100, "840"),
        EntryMode.CONTACTLESS_STRIPE, (8, 16)),
    ("visa.json", "visa-10"): (
        "visa-vip-like", Kind.PURCHASE, Money(2200, "840"), EntryMode.CHIP, (10, 6)),
    ("visa.json", "visa-11"): (
        "visa-vip-like", Kind.PURCHASE, Money(4000, "840"), EntryMode.MANUAL, (1, 14)),
    ("visa.json", "visa-13"): (
        "visa-vip-like", Kind.SIGN_ON, None, EntryMode.UNKNOWN, (11, 5)),
    ("mastercard.json", "mc-01"): (
        "mastercard-cis-like", Kind.PURCHASE, Money(1500, "840"),
        EntryMode.CHIP, (12, 7)),
    ("mastercard.json", "mc-03"): (
        "mastercard-cis-like", Kind.REVERSAL, Money(1800, "986"),
        EntryMode.UNKNOWN, (8, 22)),
    ("mastercard.json", "mc-04"): (
        "mastercard-cis-like", Kind.REVERSAL, Money(5290, "840"),
        EntryMode.UNKNOWN, (12, 6)),
}  # fmt: skip


def find_case(file: str, name: str) -> dict[str, Any]:
    cases = corpus(f"iso8583/{file}")
    listed = cases["cases"] if isinstance(cases, dict) else cases
    (case,) = [case for case in listed if case["id"] == name]
    return dict(case)


def read_case(file: str, name: str, dialect: str) -> Transaction:
    case = find_case(file, name)
    header_bytes = case.get("header", {"bytes": 0})["bytes"]
    message = get_dialect(dialect).codec.decode(
        bytes.fromhex(case["hex"])[header_bytes:]
    )
    return get_dialect(dialect).to_transaction(message, reference=NOW, currency="978")


@pytest.mark.parametrize(("case", "expected"), EXPECTED.items())
def test_a_real_message_means_what_it_says(
    case: tuple[str, str], expected: tuple[Any, ...]
) -> None:
    dialect, kind, amount, mode, sent_on = expected
    txn = read_case(*case, dialect)
    assert (txn.kind, txn.amount, txn.entry_mode) == (kind, amount, mode)
    sent = txn.transmitted_at
    assert (sent and (sent.month, sent.day)) == sent_on
    fields = find_case(*case)["fields"]
    assert txn.stan == fields["11"]
    if fields.get("2"):
        assert txn.pan is not None
        assert txn.pan.reveal() == fields["2"]
    if "35" in fields:
        assert txn.track2 is not None
        assert txn.track2.reveal() == fields["35"].replace("D", "=")


def test_a_real_reversal_of_1993_names_its_original() -> None:
    txn = read_case("iso93.json", "fluidpay-messagedecode", "iso93-ascii")
    assert txn.kind is Kind.REFUND
    case = find_case("iso93.json", "fluidpay-reversaladvice")
    dialect = get_dialect("iso93-ascii")
    fields = {int(de): value for de, value in case["fields"].items()}
    # That programme fixes DE 62 and 63 and holds an impossible amount in DE 54.
    kept = {de: fields[de] for de in (3, 4, 7, 11, 12, 24, 32, 37, 49, 56)}
    reversal = dialect.to_transaction(
        dialect.codec.build("1420", kept), reference=NOW, currency="840"
    )
    assert reversal.kind is Kind.REVERSAL
    assert reversal.original is not None
    assert reversal.original.stan == "030402"
    assert reversal.original.acquirer_id == "10076401251"
    assert reversal.original.local_at == datetime.fromisoformat("1995-01-23T15:49:52")
    assert reversal.original.kind is Kind.PURCHASE_WITH_CASHBACK
    assert resolve_year(95, reference=NOW) == 1995


@pytest.mark.parametrize(
    ("file", "name", "dialect", "field"),
    [
        # A card verification without a card; a local time whose day is 00.
        ("ascii87.json", "moov-0200-request", "iso87-ascii", "2"),
        ("ascii87.json", "nucleus-0200-sec-bitmap", "iso87-ascii", "3"),
        ("cup-pos.json", "cup-download-request", "cup-pos", "60"),
        ("cup-pos.json", "cup-signin-response", "cup-pos", "mti"),
        ("amex.json", "amex-1100-erl", "amex-gcag-like", "12"),
    ],
)
def test_a_real_message_without_a_meaning_names_the_field(
    file: str, name: str, dialect: str, field: str
) -> None:
    with pytest.raises(DecodeError) as caught:
        read_case(file, name, dialect)
    assert caught.value.field == field


def test_chip_data_of_a_dataset_crosses_into_a_bare_field() -> None:
    txn = read_case("visa.json", "visa-07", "visa-vip-like")
    assert txn.emv is not None
    assert txn.emv.reveal().startswith(bytes.fromhex("9F3303204000"))
    leg = LegNumbers(
        stan="000011", rrn="322817000011", transmitted_at=NOW, acquirer_id="12345678901"
    )
    message = get_dialect("iso93-bcd").to_request(txn, leg, mac=False)
    assert message[55] == txn.emv.reveal()
    back = get_dialect("visa-vip-like").to_request(txn, leg, mac=False)
    case = find_case("visa.json", "visa-07")
    assert back[55] == bytes.fromhex(case["fields"]["55"])
