"""Values in words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.explain import UNKNOWN, explain_field, explained_fields
from tests.shared import reference

ISSUER = " -> issuer_unavailable"
CRYPTO = " -> cryptographic_error"

EDITIONS = ["1987", "1993", "2003", "unionpay"]


@pytest.mark.parametrize(
    ("edition", "de", "value", "parts"),
    [
        ("1987", 0, "0201", {"2 class": "financial", "1 origin": "acquirer repeat"}),
        ("1987", 3, "092000", {"20 from account": "cheque (current)"}),
        ("1987", 22, "051", {"05 card entry": "chip, card verification reliable"}),
        ("1987", 22, "9010", {"1 PIN capability": "terminal can take a PIN"}),
        ("1987", 22, "", {" card entry": UNKNOWN}),
        ("1987", 25, "08", {"08": "mail or telephone order"}),
        ("1987", 39, "51", {"51": "not sufficient funds -> insufficient_funds"}),
        ("1987", 39, "ZZ", {"ZZ": UNKNOWN}),
        ("1987", 49, "392", {"392": "JPY, 0 decimals"}),
        ("1987", 49, "000", {"000": UNKNOWN}),
        ("1987", 70, "064", {"064": "Mastercard sign-on/off by prefix"}),
        ("1987", 90, "0200000017", {"MTI": "0200", "trace number": "000017"}),
        ("unionpay", 39, "A0", {"A0": "MAC check failed: sign in again" + CRYPTO}),
        ("1993", 22, "51010151134C", {"12: C PIN capture capability": "12 digits"}),
        ("1993", 24, "285", {"285": "private"}),
        ("1993", 25, "4021", {"4021": "timeout waiting for response"}),
        ("1993", 39, "907", {"907": "card issuer or switch inoperative" + ISSUER}),
        ("1993", 56, "120003040295012315495211100764012", {"acquirer": "100764012"}),
        (
            "2003",
            22,
            "1020000004000000020000000100",
            {"verification": "manual signature"},
        ),
        ("2003", 22, "00000080", {"card reading": f"flag 32 {UNKNOWN}"}),
        ("2003", 39, "9107", {"9107": "card issuer or switch inoperative" + ISSUER}),
    ],
)
def test_a_value_is_explained(
    edition: str, de: int, value: str, parts: dict[str, str]
) -> None:
    explained = dict(explain_field(de, value, edition))
    assert parts.items() <= explained.items()


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("0001392D000000001250", "account ledger balance, 1250 JPY debit"),
        ("0002048C000000000007", "account available balance, 0.007 BHD credit"),
        ("0002800C000000005000", "account available balance, 5000 UGX credit"),
        (
            "0002999C000000005000",
            "account available balance, 5000 minor units of 999 credit",
        ),
        ("0002978C00000", "not an additional amount of 20 characters"),
        ("0002978C0000000A0000", "not an additional amount of 20 characters"),
    ],
)
def test_an_additional_amount_is_explained(item: str, words: str) -> None:
    ((part, explanation),) = explain_field(54, item, "1993")
    assert part == item
    assert explanation.removeprefix("default / unspecified: ") == words


@pytest.mark.parametrize(
    ("edition", "de", "list_name"),
    [
        ("1987", 25, "pos_condition_code_1987"),
        ("1987", 39, "response_code_1987"),
        ("1987", 70, "network_management_1987_de70"),
        ("1993", 24, "function_code_1993"),
        ("1993", 25, "message_reason_code_1993"),
        ("1993", 39, "action_code_1993"),
    ],
)
def test_every_published_code_is_explained(
    edition: str, de: int, list_name: str
) -> None:
    for code in reference("iso8583-codes.json")[list_name]:
        ((_, words),) = explain_field(de, code.partition("-")[0], edition)
        assert words != UNKNOWN


@given(
    st.sampled_from(EDITIONS),
    st.integers(0, 128),
    st.text(max_size=64) | st.text("0123456789ABCDEF", max_size=64),
)
def test_any_value_gets_an_explanation_or_none(
    edition: str, de: int, value: str
) -> None:
    for part, words in explain_field(de, value, edition):
        assert isinstance(part, str)
        assert words


def test_flags_that_are_not_hexadecimal_explain_nothing() -> None:
    assert explain_field(22, "not flags", "2003") == []


def test_an_unknown_edition_explains_nothing() -> None:
    assert explain_field(39, "00", "2050") == []
    assert explained_fields("2050") == ()
