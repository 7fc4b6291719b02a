"""What a translation loses is named, with the reason."""

from __future__ import annotations

from dataclasses import replace

from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.codecs.dialects.edition import FieldValue
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.iso20022.caaa import CaaaDialect
from isoswitch.codecs.iso20022.schemas import Mode, Schemas
from isoswitch.codecs.iso20022.translation import (
    CHANGED,
    NOT_CARRIED,
    NOT_READ,
    to_card,
)
from tests.codecs.dialects.strategies import NOW
from tests.codecs.dialects.test_dialect import LEG, PURCHASE

DIALECT = get_dialect("iso87-ascii")
CAAA = CaaaDialect(Schemas(), Mode.PROFILE)


def lost(txn: Transaction, extra: dict[int, FieldValue]) -> dict[str, tuple[str, str]]:
    """Give what caaa loses of a message: value and reason by field."""
    built = DIALECT.to_request(txn, LEG, mac=False, extra=extra)
    message = DIALECT.codec.decode(built.raw)
    told = to_card(message, DIALECT, CAAA, reference=NOW, currency="978")
    return {each.place: (each.value, each.reason) for each in told.losses}


def test_what_is_carried_whole_is_no_loss() -> None:
    assert lost(PURCHASE, {}) == {}


def test_a_field_that_no_transaction_has_is_not_read() -> None:
    assert lost(PURCHASE, {104: "words"})["104"][1] == NOT_READ


def test_a_value_that_comes_back_otherwise_is_changed() -> None:
    savings = replace(PURCHASE, accounts="1000")
    assert lost(savings, {})["3"] == ("001000", CHANGED)


def test_what_the_other_standard_has_no_place_for_is_not_carried() -> None:
    approved = replace(PURCHASE, approval_code="A1B2C3")
    assert lost(approved, {})["38"][1] == NOT_CARRIED
