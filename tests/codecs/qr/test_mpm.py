"""Merchant-presented codes: real ones, broken ones, built ones."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.qr import mpm
from isoswitch.codecs.qr.mpm import (
    QrObject,
    build_mpm,
    checksum,
    decode_mpm,
    item,
    nest,
)
from isoswitch.codecs.qr.schemes import (
    SCHEMES,
    Tip,
    build_account,
    build_merchant_code,
    find_scheme,
    find_schemes,
)
from tests.codecs.vectors import attempt, name_of, vectors
from tests.shared import corpus

POSITIVE = vectors("qr_mpm.json")

# The corpus calls this valid code broken, too: it is mpm-07 with its good CRC.
NOT_BROKEN = {"bad-overrun"}

SHORT = "value is shorter than its length"
MERCARI = next(c for c in POSITIVE if c["id"] == "mpm-17-mercari")["payload"]

texts = st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=20)


def tree_of(objects: tuple[QrObject, ...]) -> list[Any]:
    return [
        [each.id, tree_of(each.children) if each.children else each.value]
        for each in objects
    ]


def sealed(text: str) -> str:
    """Add the CRC to a payload without one."""
    return text + "6304" + checksum(text + "6304")


@pytest.mark.parametrize("case", POSITIVE, ids=name_of)
def test_real_codes_decode_and_encode_back(case: dict[str, Any]) -> None:
    code = decode_mpm(case["payload"])
    assert tree_of(code.objects) == case["tree"]
    assert code.encode() == case["payload"]


def test_the_whole_corpus_decodes_and_encodes_back() -> None:
    for case in corpus("qr/mpm.json"):
        code = decode_mpm(case["payload"])
        assert tree_of(code.objects) == case["tree"], case["id"]
        assert code.encode() == case["payload"], case["id"]
        summary = case["summary"]
        amount = summary["amount"]
        initiation = {"static": False, "dynamic": True}.get(summary["initiation"])
        assert code.is_dynamic is initiation
        assert code.amount == (Decimal(amount) if amount else None)
        assert code.currency == (summary["currency"] or "")
        assert code.country == (summary["country"] or "")
        assert code.mcc == (summary["mcc"] or "")
        assert code.merchant_name == (summary["name"] or "")
        assert code.merchant_city == (summary["city"] or "")


@pytest.mark.parametrize(
    ("case_id", "field", "offset"),
    [
        ("bad-crc-zero", "63", 244),
        ("bad-length-letters", "59", 14),
        ("bad-crc-not-last", "63", 248),
    ],
)
def test_broken_codes_of_the_corpus_are_refused(
    case_id: str, field: str, offset: int
) -> None:
    cases = {case["id"]: case for case in corpus("qr/invalid.json")}
    with pytest.raises(DecodeError) as refused:
        decode_mpm(cases[case_id]["payload"])
    assert (refused.value.field, refused.value.offset) == (field, offset)


def test_every_broken_code_of_the_corpus_has_its_case() -> None:
    known = {"bad-crc-zero", "bad-length-letters", "bad-crc-not-last"} | NOT_BROKEN
    assert {case["id"] for case in corpus("qr/invalid.json")} == known
    valid = {case["payload"] for case in corpus("qr/mpm.json")}
    for case in corpus("qr/invalid.json"):
        assert (case["payload"] in valid) == (case["id"] in NOT_BROKEN)


@pytest.mark.parametrize(
    ("payload", "field", "offset", "reason"),
    [
        ("", "00", 0, "does not start with a payload format"),
        (sealed("010211"), "00", 0, "does not start with a payload format"),
        ("000201010211", "63", 12, "no CRC"),
        ("0002010", "", 6, "not an identifier"),
        ("000201X1", "", 6, "not an identifier"),
        ("00020101", "01", 8, "not a length"),
        ("0002015920AB", "59", 8, SHORT),
        ("00020126080104AB", "26", 8, SHORT),
        (sealed("00020126080105ABCD"), "26.01", 12, SHORT),
        (sealed("00020X"), "00", 4, "not two digits"),
        (sealed("000201010213"), "01", 10, "neither static nor dynamic"),
        (sealed("000201520341A"), "52", 10, "not a merchant category code"),
        (sealed("0002015303X56"), "53", 10, "not a numeric currency"),
        (sealed("00020154041,50"), "54", 10, "not an amount"),
        (sealed("000201541412345678901.50"), "54", 10, "not an amount"),
        (sealed("000201550204"), "55", 10, "not a tip indicator"),
        (sealed("0002015703100"), "57", 10, "not a percentage"),
        (sealed("000201580200"), "58", 10, "not a country"),
        (sealed("0002015401154012"), "54", 11, "stands twice"),
        ("0002016304ZZZZ", "63", 10, "not a CRC"),
        ("00020163040000", "63", 10, "CRC does not match"),
        ("0002016302AB", "63", 10, "not a CRC"),
        ("0" * 1025, "", 1024, "longer than 1024 characters"),
        ("\u0660\u0660020163040000", "", 0, "not an identifier"),
    ],
)
def test_malformed_codes_are_refused_with_their_place(
    payload: str, field: str, offset: int, reason: str
) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_mpm(payload)
    error = refused.value
    assert (error.field, error.offset, error.reason) == (field, offset, reason)


def test_what_is_no_character_is_refused() -> None:
    with pytest.raises(DecodeError, match="not a character"):
        decode_mpm("0002015901\ud80063040000")


def test_the_number_of_objects_has_a_limit() -> None:
    with pytest.raises(DecodeError, match="more than"):
        decode_mpm(sealed("000201" + "6500" * 128))


def test_the_crc_may_be_lower_case() -> None:
    payload = decode_mpm(MERCARI).encode()
    lower = payload[:-4] + payload[-4:].lower()
    assert decode_mpm(lower).encode() == lower


def test_the_crc_is_ccitt_false() -> None:
    """CRC-16/CCITT-FALSE check value."""
    assert checksum("123456789") == "29B1"


@given(st.text(max_size=200))
def test_random_text_raises_nothing_else(text: str) -> None:
    for payload in (text, "000201" + text):
        code = attempt(decode_mpm, payload)
        assert isinstance(code, DecodeError) or code.encode() == payload


@pytest.mark.parametrize("case", POSITIVE, ids=name_of)
def test_every_truncation_is_refused(case: dict[str, Any]) -> None:
    for size in range(len(case["payload"])):
        error = attempt(decode_mpm, case["payload"][:size])
        assert isinstance(error, DecodeError)
        assert error.offset <= size


@given(st.sampled_from(POSITIVE), st.integers(0, 300), st.characters())
def test_one_wrong_character_never_goes_unseen(
    case: dict[str, Any], place: int, character: str
) -> None:
    """A change of one character changes the CRC, or is the CRC's own case."""
    payload = case["payload"]
    place %= len(payload)
    changed = payload[:place] + character + payload[place + 1 :]
    code = attempt(decode_mpm, changed)
    assert isinstance(code, DecodeError) or changed.upper() == payload.upper()


@given(
    st.dictionaries(st.sampled_from(["01", "03", "05", "07", "08"]), texts, max_size=4),
    texts,
    texts,
)
def test_what_is_built_reads_back(
    additional: dict[str, str], name: str, city: str
) -> None:
    parts = [item("00", "01"), item("59", name), item("60", city)]
    if additional and sum(len(text) + 4 for text in additional.values()) <= 99:
        parts.append(nest("62", additional))
    code = build_mpm(parts)
    assert tree_of(code.objects)[:-1] == tree_of(tuple(parts))
    assert decode_mpm(code.encode()) == code
    for identifier, text in additional.items():
        assert code.value(f"62.{identifier}") in (text, "")


def test_a_free_template_may_hold_any_text() -> None:
    plain = decode_mpm(sealed("0002018208DEADBEEF62085004free"))
    assert plain.value("82") == "DEADBEEF"
    assert plain.value("62.50") == "free"


def test_languages_and_tips_are_read() -> None:
    code = decode_mpm(
        next(c for c in POSITIVE if c["id"] == "mpm-17-mercari")["payload"]
    )
    assert code.languages == {"ZH": ("最佳运输", "北京")}
    assert (code.tip, code.tip_value) == (mpm.TIP_PROMPT, None)
    fixed = decode_mpm(sealed("00020155020256041.50"))
    assert (fixed.tip, fixed.tip_value) == (mpm.TIP_FIXED, Decimal("1.50"))
    percent = decode_mpm(sealed("00020155020357015"))
    assert (percent.tip, percent.tip_value) == (mpm.TIP_PERCENT, Decimal(5))
    assert decode_mpm(sealed("000201")).is_dynamic is None


def test_objects_without_a_meaning_are_reported() -> None:
    code = decode_mpm(sealed("0002016502AB1703XYZ"))
    assert code.unknown_objects() == [("65", 2), ("17", 3)]


@pytest.mark.parametrize(
    ("identifier", "value"), [("1", "x"), ("XX", "x"), ("59", ""), ("59", "x" * 100)]
)
def test_what_is_no_object_is_not_built(identifier: str, value: str) -> None:
    with pytest.raises(EncodeError):
        item(identifier, value)


def test_what_would_not_read_back_is_not_built() -> None:
    with pytest.raises(EncodeError, match="not an amount"):
        build_mpm([item("00", "01"), item("54", "free")])


EXAMPLES: dict[str, dict[str, str]] = {
    "pix": {"01": "123e4567-e12b-12d1-a456-426655440000"},
    "paynow": {"01": "2", "02": "202012345X", "03": "1"},
    "sgqr": {"01": "202012345X123"},
    "duitnow": {"01": "501664", "02": "MERCHANT01"},
    "promptpay": {"01": "0066801234567"},
    "promptpay-bill": {"01": "010753600031501", "02": "REF1"},
    "unionpay": {"": "37210116372101160123456789ABCDE"},
    "vietqr": {"01": "0006970436011012345678", "02": "QRIBFTTA"},
    "vnpay": {"01": "415999"},
    "jpqr": {"01": "0000000000001", "02": "0001"},
    "qris": {"02": "ID1020021181745"},
    "fps": {"02": "1234567"},
    "bharatqr-upi": {"01": "shop@bank"},
    "lapnet": {"01": "32170418"},
}


@pytest.mark.parametrize("name", SCHEMES)
def test_each_scheme_builds_a_code_that_names_it(name: str) -> None:
    scheme = SCHEMES[name]
    code = build_merchant_code(
        scheme, EXAMPLES[name], name="SHOP", city="CITY", amount=Decimal("12.50")
    )
    assert find_schemes(code) == [scheme]
    assert code.amount == Decimal("12.50")
    assert (code.currency, code.country) == (scheme.currency, scheme.country)
    assert code.value("00") == scheme.payload_format


@pytest.mark.parametrize(
    ("case_id", "names"),
    [
        ("mpm-08-dtinth", ["promptpay"]),
        ("paynow-sgqr", ["paynow", "sgqr"]),
        ("mpm-25-monkeykingblack", ["pix"]),
        ("mpm-28-phannaly", ["unionpay"]),
        ("mpm-20-mercari", ["jpqr"]),
    ],
)
def test_schemes_of_real_codes_are_found(case_id: str, names: list[str]) -> None:
    case = next(case for case in POSITIVE if case["id"] == case_id)
    found = find_schemes(decode_mpm(case["payload"]))
    assert [scheme.name for scheme in found] == names


def test_a_published_account_builds_byte_for_byte() -> None:
    """The PayNow template of the SGQR sample."""
    account = build_account(
        SCHEMES["paynow"],
        {"01": "2", "02": "202012345X", "03": "1", "04": "20211231"},
    )
    assert account.encode() == ("26490009SG.PAYNOW010120210202012345X03011040820211231")


def test_a_whole_code_has_all_its_parts() -> None:
    code = build_merchant_code(
        SCHEMES["duitnow"],
        EXAMPLES["duitnow"],
        name="SHOP",
        city="CITY",
        mcc="5411",
        currency="840",
        country="US",
        is_dynamic=True,
        tip=Tip(mpm.TIP_PERCENT, Decimal(5)),
        additional={"05": "REF1"},
    )
    assert code.is_dynamic is True
    assert code.tip_value == Decimal(5)
    assert (code.currency, code.country, code.mcc) == ("840", "US", "5411")
    assert code.value("62.05") == "REF1"


@pytest.mark.parametrize(
    ("tip", "value"), [(Tip(mpm.TIP_PROMPT), None), (Tip(mpm.TIP_FIXED, Decimal(1)), 1)]
)
def test_tips_are_built(tip: Tip, value: int | None) -> None:
    code = build_merchant_code(
        SCHEMES["pix"], EXAMPLES["pix"], name="SHOP", city="CITY", tip=tip
    )
    assert code.tip == tip.kind
    assert code.tip_value == value


@pytest.mark.parametrize(
    ("name", "values", "field"),
    [
        ("paynow", {"01": "2"}, "26.02"),
        ("pix", {"99": "x"}, "26.99"),
        ("unionpay", {}, "15"),
        ("unionpay", {"": "short"}, "15"),
    ],
)
def test_an_account_of_other_parts_is_refused(
    name: str, values: dict[str, str], field: str
) -> None:
    with pytest.raises(EncodeError) as refused:
        build_account(SCHEMES[name], values)
    assert refused.value.field == field


def test_an_unknown_account_has_no_scheme() -> None:
    assert find_scheme(nest("26", {"00": "example.com", "01": "x"})) is None
