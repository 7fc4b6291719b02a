"""Consumer-presented codes, payment codes, UPI links, pictures, descriptions."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.emv.tlv import primitive, template
from isoswitch.codecs.qr import render
from isoswitch.codecs.qr.cpm import build_cpm, decode_cpm
from isoswitch.codecs.qr.describe import decode_code, describe_code, is_public, title
from isoswitch.codecs.qr.links import build_upi, decode_upi
from isoswitch.codecs.qr.mpm import build_mpm, item, nest
from isoswitch.codecs.qr.payment_codes import Wallet, decode_payment_code, find_wallet
from tests.codecs.vectors import attempt, name_of, vectors
from tests.shared import corpus

CPM = vectors("qr_cpm.json")
MPM = {case["id"]: case["payload"] for case in vectors("qr_mpm.json")}
UPI = "upi://pay?pa=shop@bank&pn=Tea%20Shop&mc=5411&tr=R1&am=10.50&cu=INR"


def encoded(text: str) -> str:
    return base64.b64encode(bytes.fromhex(text)).decode()


@pytest.mark.parametrize("case", CPM, ids=name_of)
def test_published_consumer_codes_decode_and_encode_back(case: dict[str, Any]) -> None:
    code = decode_cpm(case["base64"])
    assert code.tlv.encode().hex().upper() == case["hex"]
    assert code.encode() == case["base64"]


def test_the_corpus_of_consumer_codes_decodes_and_encodes_back() -> None:
    for case in corpus("qr/cpm.json"):
        assert decode_cpm(case["base64"]).encode() == case["base64"]


def test_a_consumer_code_tells_applications_and_number() -> None:
    one, two = (decode_cpm(case["base64"]) for case in CPM)
    assert one.pan is not None
    assert one.pan.last4 == "3458"
    assert [aid.hex().upper() for aid in two.applications] == [
        "A0000000555555",
        "A0000000666666",
    ]
    assert two.token is None


@pytest.mark.parametrize(
    ("payload", "field", "offset"),
    [
        ("", "85", 0),
        ("%%%%", "", 0),
        ("hQVDUFYwMWEJTwegAAAAVVV", "", 0),
        ("hQVDUFYwMWEJTwegAAAAVVVV\n", "", 0),
        (encoded("8505435056303161094F07A0000000555555")[:-1] + "=", "", 0),
        (encoded("8505435056303261094F07A0000000555555"), "85", 0),
        (encoded("85054350563031"), "61", 7),
        (encoded("85054350563031610A4F07A0000000555555"), "61", 8),
        ("h" * 1025, "", 1024),
    ],
)
def test_broken_consumer_codes_are_refused(
    payload: str, field: str, offset: int
) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_cpm(payload)
    assert refused.value.field == field
    assert refused.value.offset >= offset


def test_spare_bits_of_base64_must_be_zero() -> None:
    """Two texts for one code would be two codes for one check."""
    good = "hQVDUFYwMWECTwA="
    assert decode_cpm(good).encode() == good
    error = attempt(decode_cpm, "hQVDUFYwMWECTwB=")
    assert isinstance(error, DecodeError)
    assert error.reason == "not base64 in its one form"


@given(st.text(max_size=60))
def test_random_text_is_no_consumer_code(text: str) -> None:
    for payload in (text, "hQVDUFYwMWE" + text):
        code = attempt(decode_cpm, payload)
        assert isinstance(code, DecodeError) or code.encode() == payload


@pytest.mark.parametrize("case", CPM, ids=name_of)
def test_truncated_consumer_codes_are_refused_or_read_back(
    case: dict[str, Any],
) -> None:
    for size in range(len(case["base64"])):
        code = attempt(decode_cpm, case["base64"][:size])
        assert isinstance(code, DecodeError) or code.encode() == case["base64"][:size]


def test_a_consumer_code_is_built_of_templates() -> None:
    aid = primitive("4F", bytes.fromhex("A0000000555555"))
    common = template("62", [primitive("5F2D", b"en")])
    code = build_cpm([template("61", [aid]), common])
    assert decode_cpm(code.encode()) == code
    with pytest.raises(EncodeError, match="not a template"):
        build_cpm([aid])
    with pytest.raises(EncodeError, match="no application template"):
        build_cpm([common])


@pytest.mark.parametrize(
    ("text", "wallet"),
    [
        ("135112298638468293", Wallet.WECHAT),
        ("100000000000000000", Wallet.WECHAT),
        ("289431869362714645", Wallet.ALIPAY),
        ("2500000000000000", Wallet.ALIPAY),
        ("301111111111111111111111", Wallet.ALIPAY),
        ("6211111111111111111", Wallet.UNIONPAY),
    ],
)
def test_payment_codes_are_recognised(text: str, wallet: Wallet) -> None:
    code = decode_payment_code(text)
    assert code.wallet is wallet
    assert code.encode() == text
    assert text not in repr(code)


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("", 0),
        ("13511229863846829", 17),
        ("13511229863846829O", 17),
        ("251111111111111", 15),
        ("3011111111111111111111111", 24),
        ("160000000000000000", 0),
        ("62111111111111111111", 19),
        ("\u0661\u0660" * 9, 0),
    ],
)
def test_what_is_no_payment_code_is_refused(text: str, offset: int) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_payment_code(text)
    assert refused.value.offset == offset
    assert find_wallet(text) is None


def test_payment_codes_of_the_corpus_are_recognised() -> None:
    for case in corpus("qr/payment-codes.json"):
        assert find_wallet(case["code"]) == case["scheme"], case["id"]


def test_upi_links_of_the_corpus_decode_and_encode_back() -> None:
    for case in corpus("qr/links.json"):
        link = decode_upi(case["uri"])
        assert link.encode() == case["uri"]
        for name, value in case["fields"].items():
            assert link.value(name) == value


@pytest.mark.parametrize("uri", [UPI, "UPI://pay?pa=a@b", "upi://mandate?pa=a@b&x=%20"])
def test_links_read_back(uri: str) -> None:
    assert decode_upi(uri).encode() == uri


def test_a_link_tells_its_amount() -> None:
    assert decode_upi(UPI).amount == Decimal("10.50")
    assert decode_upi("upi://pay?pa=a@b").amount is None


@pytest.mark.parametrize(
    ("uri", "field", "offset"),
    [
        ("", "", 0),
        ("http://pay?pa=a@b", "", 0),
        ("upi://pay?pa=\u00e9@b", "", 0),
        ("upi://steal?pa=a@b", "", 6),
        ("upi://pay", "", 6),
        ("upi://pay?", "", 10),
        ("upi://pay?pn=Shop", "pa", 17),
        ("upi://pay?pa=", "pa", 13),
        ("upi://pay?pa=nobody", "pa", 13),
        ("upi://pay?pa=a@b&am=1,50", "am", 20),
        ("upi://pay?pa=a@b&am=1.505", "am", 20),
        ("upi://pay?pa=a@b&cu=USD", "cu", 20),
        ("upi://pay?pa=a@b&pn=%2", "pn", 20),
        ("upi://pay?pa=a@b&pn=x%zz", "pn", 21),
        ("upi://pay?pa=a@b&pn=%FF", "pn", 20),
        ("upi://pay?pa=a@b&am", "", 17),
        ("upi://pay?pa=a@b&=1", "", 17),
        ("upi://pay?pa=a@b&am=1&am=2", "am", 22),
        ("upi://pay?pa=a@b&" + "&".join(f"x{n}=1" for n in range(64)), "", 385),
        ("upi://pay?pa=a@b&x=" + "y" * 2048, "", 2048),
    ],
)
def test_broken_links_are_refused(uri: str, field: str, offset: int) -> None:
    with pytest.raises(DecodeError) as refused:
        decode_upi(uri)
    assert (refused.value.field, refused.value.offset) == (field, offset)


@given(st.text(max_size=80))
def test_random_text_is_no_link(text: str) -> None:
    for uri in (text, "upi://pay?pa=a@b&pn=" + text):
        link = attempt(decode_upi, uri)
        assert isinstance(link, DecodeError) or link.encode() == uri


@given(st.text(st.characters(blacklist_categories=("Cs",)), min_size=1, max_size=40))
def test_a_built_link_says_what_was_asked(name: str) -> None:
    link = build_upi({"pa": "shop@bank", "pn": name})
    assert decode_upi(link.encode()).value("pn") == name


def test_a_senseless_link_is_not_built() -> None:
    with pytest.raises(EncodeError):
        build_upi({"pa": "nobody"})


def test_pictures_are_drawn() -> None:
    assert render.to_svg(UPI).count("<svg") == 1
    assert render.to_png(UPI, scale=2).startswith(b"\x89PNG")
    assert len(render.to_png(UPI, scale=8)) > len(render.to_png(UPI, scale=1))
    assert "\u2588" in render.to_terminal(MPM["mpm-17-mercari"])


@pytest.mark.parametrize("payload", ["x" * 5000, "\ud800"])
def test_what_fits_no_picture_is_refused(payload: str) -> None:
    with pytest.raises(EncodeError):
        render.to_svg(payload)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (MPM["mpm-17-mercari"], "merchant-presented code, dynamic"),
        (MPM["mpm-08-dtinth"], "merchant-presented code, static"),
        (MPM["mpm-25-monkeykingblack"], "merchant-presented code, plain"),
        (CPM[0]["base64"], "consumer-presented code"),
        (UPI, "UPI link"),
        ("135112298638468293", "payment code of wechat"),
    ],
)
def test_any_code_is_recognised(text: str, says: str) -> None:
    code = decode_code(text)
    assert title(code) == says
    assert code.encode() == text


@pytest.mark.parametrize("text", ["", "hello", "\u0661" * 18, "http://example.com"])
def test_what_is_no_code_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="no kind of payment code"):
        decode_code(text)


def test_a_merchants_code_is_described_by_its_scheme() -> None:
    rows = describe_code(decode_code(MPM["paynow-sgqr"]))
    assert ("26", "PayNow, Singapore", "") in rows
    assert ("26.00", "globally unique identifier", "SG.PAYNOW") in rows
    assert ("26.02", "proxy", "202012345X") in rows
    assert ("62.01", "bill number", "987654321X") in rows
    assert ("59", "merchant name", "SAMPLE SHOP") in rows


def test_parts_without_a_meaning_are_described_plainly() -> None:
    account = nest("26", {"00": "SG.PAYNOW", "77": "x"})
    odd = [item("00", "01"), account, nest("27", {"00": "example.com", "05": "y"})]
    rows = describe_code(build_mpm([*odd, nest("62", {"33": "z"})]))
    assert ("26.77", "unknown", "x") in rows
    assert ("27.05", "value", "y") in rows
    assert ("62.33", "value", "z") in rows


def test_a_payers_secrets_do_not_show() -> None:
    payer = decode_code(CPM[1]["base64"])
    shown = str(describe_code(payer))
    assert "1234567890123458" not in shown
    assert "CARDHOLDER" not in shown
    assert "1234567890123458" in str(describe_code(payer, unsafe=True))
    assert not is_public(payer)
    wallet = decode_code("135112298638468293")
    assert describe_code(wallet) == [("", "digits for wechat", "***")]
    assert describe_code(wallet, unsafe=True)[0][2] == "135112298638468293"
    assert not is_public(wallet)


def test_a_card_number_in_a_merchants_code_does_not_show() -> None:
    code = build_mpm([item("00", "01"), item("02", "4761739001010010")])
    assert "4761739001010010" not in str(describe_code(code))
    assert not is_public(code)
    link = decode_code("upi://pay?pa=a@b&tr=4761739001010010")
    assert "4761739001010010" not in str(describe_code(link))
    assert ("tr", "transaction reference", "476173******0010") in describe_code(link)
    assert is_public(decode_code(UPI))
