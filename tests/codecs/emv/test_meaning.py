"""What chip data means: bits, schemes, taps, tokens, DE 55, descriptions."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.codecs.emv import bits, de55
from isoswitch.codecs.emv.bits import explain_bits, explain_value
from isoswitch.codecs.emv.contactless import (
    SCHEME_TAGS,
    Scheme,
    explain_form_factor,
    find_scheme,
    find_scheme_in,
    find_tag,
    read_tap,
)
from isoswitch.codecs.emv.describe import describe_tlv, show_value, unknown_tags
from isoswitch.codecs.emv.tags import NEVER_IN_CLEAR, TAGS
from isoswitch.codecs.emv.tlv import SIZE_MAX, decode_tlv
from isoswitch.codecs.emv.tokens import PaymentToken, account_key, find_pan, find_token
from tests.codecs.vectors import vectors
from tests.shared import corpus, reference

WALLET = decode_tlv(
    bytes.fromhex(
        next(
            case["hex"]
            for case in vectors("emv_tlv.json")
            if case["id"] == "constructed-visa-wallet"
        )
    )
)
TEST_PAN = "4761739001010010"


def words(tag: str, value: str, scheme: Scheme | None = None) -> list[str]:
    return [meaning for _, meaning in explain_value(tag, bytes.fromhex(value), scheme)]


@pytest.mark.parametrize(
    ("tag", "value", "scheme", "meanings"),
    [
        ("95", "0000000000", None, []),
        ("95", "0400000000", None, ["CDA failed"]),
        (
            "9B",
            "E800",
            None,
            [
                "offline data authentication performed",
                "cardholder verification performed",
                "card risk management performed",
                "terminal risk management performed",
            ],
        ),
        (
            "9F34",
            "420300",
            None,
            [
                "enciphered PIN verified online",
                "try the next rule if it fails",
                "terminal supports the method",
                "unknown",
            ],
        ),
        (
            "9F34",
            "010002",
            Scheme.MASTERCARD,
            [
                "consumer device CVM (contactless)",
                "fail if it fails",
                "always",
                "successful",
            ],
        ),
        (
            "9F34",
            "18FF07",
            None,
            ["reserved", "fail if it fails", "reserved", "reserved"],
        ),
        ("9F34", "0100", None, []),
        ("9F27", "80", None, ["ARQC: asks the issuer"]),
        (
            "9F27",
            "0A",
            None,
            ["AAC: declined", "advice required", "PIN try limit exceeded"],
        ),
        ("9F27", "47", None, ["TC: approved offline", "reserved"]),
        ("9F27", "8080", None, []),
        ("9F35", "22", None, ["merchant, attended, offline with online"]),
        ("9F35", "99", None, ["reserved"]),
        ("9C", "20", None, ["refund"]),
        ("9C", "77", None, ["other"]),
        ("8A", "5A33", None, ["could not go online, declined offline"]),
        ("8A", "3531", None, ["the issuer's own code"]),
        (
            "9F66",
            "B6204000",
            Scheme.VISA,
            [
                "MSD supported",
                "contactless EMV (qVSDC) supported",
                "EMV contact chip supported",
                "online PIN supported",
                "signature supported",
                "contact chip offline PIN supported",
                "consumer device CVM supported",
            ],
        ),
        ("9F66", "B620", Scheme.MASTERCARD, []),
        ("9F6C", "0080", Scheme.UNIONPAY, ["consumer device CVM performed"]),
        ("9F6C", "0001", Scheme.MASTERCARD, []),
        ("9F6E", "23880000", Scheme.VISA, ["consumer mobile phone"]),
        ("9F6E", "23880000", None, []),
        (
            "9F71",
            "010002",
            Scheme.AMEX,
            ["mobile CVM performed", "not required", "successful"],
        ),
        ("9F71", "3FFF02", Scheme.AMEX, ["no CVM performed", "reserved", "successful"]),
        ("9F71", "010002", Scheme.MASTERCARD, []),
        ("9F71", "0100", Scheme.AMEX, []),
        (
            "8E",
            "00000064000000C8420341031E031F00",
            None,
            [
                "100",
                "200",
                (
                    "enciphered PIN verified online; terminal supports the method; "
                    "try the next rule if it fails"
                ),
                (
                    "plaintext PIN verified by the card; terminal supports the method; "
                    "try the next rule if it fails"
                ),
                "signature; terminal supports the method; fail if it fails",
                "no CVM required; always; fail if it fails",
            ],
        ),
        ("8E", "0000006400", None, []),
        (
            "82",
            "3980",
            Scheme.MASTERCARD,
            [
                "DDA supported",
                "cardholder verification supported",
                "terminal risk management to be performed",
                "CDA supported",
                "EMV mode supported",
            ],
        ),
        ("95", "0000", None, []),
        ("9F26", "0000000000000000", None, []),
    ],
)
def test_values_are_explained(
    tag: str, value: str, scheme: Scheme | None, meanings: list[str]
) -> None:
    assert words(tag, value, scheme) == meanings


def test_the_verification_results_of_the_corpus_are_explained_as_noted() -> None:
    for case in corpus("emv/tlv.json"):
        noted = case.get("decoded", {}).get("95 set bits")
        if noted is not None:
            tlv = decode_tlv(bytes.fromhex(case["hex"]))
            value = tlv.find("95") or b""
            assert [meaning for _, meaning in explain_value("95", value)] == noted


def test_the_dictionary_knows_every_tag_of_the_reference() -> None:
    missing = {row["tag"] for row in reference("emv-tags.json")["tags"]} - set(TAGS)
    assert not missing


def test_the_dictionary_is_sound() -> None:
    forms = {"n", "cn", "a", "an", "ans", "b", "template"}
    for tag, known in TAGS.items():
        assert tag == tag.upper()
        assert known.form in forms
        assert known.size_min <= known.size_max
    assert set(TAGS) >= NEVER_IN_CLEAR


def test_every_bit_table_names_real_bits() -> None:
    names = {f"{byte}.{bit}" for byte in range(1, 6) for bit in range(1, 9)}
    for table in (bits.TVR, bits.AIP, bits.TSI, bits.TTQ, bits.CTQ):
        assert set(table) <= names
    assert explain_bits(bits.TSI, b"\x01") == [("byte 1 bit 1", "reserved")]


@pytest.mark.parametrize("tag", ["9F6E", "9F6C", "9F66", "9F7C", "9F63", "9F71"])
def test_a_tag_with_several_meanings_is_told_apart_by_scheme(tag: str) -> None:
    meanings = {
        found.name
        for scheme in SCHEME_TAGS
        if (found := find_tag(tag, scheme)) and tag in SCHEME_TAGS[scheme]
    }
    assert len(meanings) >= 2
    assert find_tag(tag, None) is not None


def test_the_scheme_comes_from_the_application_identifier() -> None:
    assert find_scheme(bytes.fromhex("A000000333010102")) is Scheme.UNIONPAY
    assert find_scheme(b"2PAY.SYS.DDF01") is None
    assert find_scheme_in(WALLET) is Scheme.VISA
    assert (
        find_scheme_in(decode_tlv(bytes.fromhex("840E" + b"2PAY.SYS.DDF01".hex())))
        is None
    )


@pytest.mark.parametrize(
    ("text", "cdcvm"),
    [
        ("8407A00000000310109F6C020080", True),
        ("8407A00000000310109F6C020000", False),
        ("8408A0000003330101029F6C020080", True),
        ("8407A00000000410109F340301000282021A00", True),
        ("8407A00000000410109F340301000282021800", False),
        ("8407A00000000410109F3403010002", True),
        ("8407A00000000410109F34031E0300", False),
        ("8406A000000025019F7103010002", True),
        ("8406A000000025019F71033F0002", False),
        ("8406A00000002501", None),
        ("9F6C020080", None),
    ],
)
def test_a_device_that_verified_its_holder_is_recognised(
    text: str, cdcvm: bool | None
) -> None:
    assert read_tap(decode_tlv(bytes.fromhex(text))).cdcvm is cdcvm


def test_the_scheme_may_come_from_elsewhere() -> None:
    tap = read_tap(decode_tlv(bytes.fromhex("9F7103010002")), Scheme.AMEX)
    assert tap.cdcvm is True


@pytest.mark.parametrize(
    ("value", "scheme", "device"),
    [
        ("23880000", Scheme.VISA, "consumer mobile phone"),
        ("1F880000", Scheme.VISA, "other form factor"),
        ("238800", Scheme.VISA, ""),
        ("08400000303300", Scheme.MASTERCARD, "watch"),
        ("084000005A5A00", Scheme.MASTERCARD, "other form factor"),
        ("0840800030330000", Scheme.MASTERCARD, ""),
        ("0840000030", Scheme.MASTERCARD, ""),
        ("D8004000", Scheme.AMEX, ""),
    ],
)
def test_the_form_factor_is_read_by_scheme(
    value: str, scheme: Scheme, device: str
) -> None:
    assert explain_form_factor(bytes.fromhex(value), scheme) == device


def test_a_wallet_tap_tells_its_token() -> None:
    token = find_token(WALLET)
    assert token == PaymentToken(
        dpan=Pan("4761739001010119"),
        requestor_id="40010030273",
        wallet="Apple Pay",
        par="V0010013021298765432109876543",
        pan_last4="0119",
    )
    assert read_tap(WALLET).form_factor == "consumer mobile phone"


def test_without_token_tags_there_is_no_token() -> None:
    assert find_token(decode_tlv(bytes.fromhex("5A084761739001010010"))) is None


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("9F1906140010030273", "55.9F19"),
        ("9F190604001003027A", "55.9F19"),
        ("9F24035630FF", "55.9F24"),
        ("9F250119", "55.9F25"),
        ("9F2502011A", "55.9F25"),
        ("9F250201195A024761", "55.5A"),
        ("9F2502011957024761", "55.57"),
    ],
)
def test_a_malformed_token_is_refused(text: str, field: str) -> None:
    with pytest.raises(DecodeError) as refused:
        find_token(decode_tlv(bytes.fromhex(text)), path="55")
    assert refused.value.field == field


def test_errors_stand_without_a_path_too() -> None:
    with pytest.raises(DecodeError) as refused:
        find_pan(decode_tlv(bytes.fromhex("5A024761")))
    assert refused.value.field == "5A"


def test_velocity_counts_by_account_where_it_is_known() -> None:
    pan = Pan(TEST_PAN)
    assert account_key("V001", pan) == "V001"
    assert account_key("", pan) == pan


def test_de_55_keeps_visas_wrapper() -> None:
    wrapped = bytes.fromhex("01000B9F27018095050000000000")
    chip = de55.decode_de55(wrapped)
    assert chip.is_wrapped
    assert chip.encode() == wrapped
    assert chip.only(["95"]).encode().hex() == "01000795050000000000"


@pytest.mark.parametrize("text", ["01000C9F270180", "0100019F270180"])
def test_a_wrong_wrapper_is_refused(text: str) -> None:
    with pytest.raises(DecodeError) as refused:
        de55.decode_de55(bytes.fromhex(text))
    assert (refused.value.field, refused.value.offset) == ("55", 1)


def test_an_error_inside_the_wrapper_counts_from_the_field() -> None:
    with pytest.raises(DecodeError) as refused:
        de55.decode_de55(bytes.fromhex("0100039F2702"))
    assert refused.value.offset == 5


def test_de_55_is_built_in_order() -> None:
    values = {"95": bytes(5), "9F26": bytes(8), "9F27": b"\x80"}
    chip = de55.build_de55(values, order=de55.UNIONPAY_REQUEST_ORDER)
    assert [each.tag for each in chip.tlv.objects] == ["9F26", "9F27", "95"]
    assert de55.build_de55({}, is_wrapped=True).encode() == b"\x01\x00\x00"
    with pytest.raises(EncodeError):
        de55.build_de55({"95": bytes(SIZE_MAX)})


def test_a_real_request_lacks_nothing_but_what_it_lacks() -> None:
    assert de55.missing_tags(WALLET) == []
    assert de55.missing_tags(decode_tlv(bytes.fromhex("9F270180")))[0] == "9F26"


def test_sets_are_of_known_tags() -> None:
    for tags in (de55.REQUEST, de55.RESPONSE, de55.ADVICE, de55.UNIONPAY_REQUEST_ORDER):
        assert set(tags) <= set(TAGS)


def test_descriptions_name_tags_and_mask_secrets() -> None:
    views = {view.path: view for view in describe_tlv(WALLET)}
    assert views["9F6E"].name == "Form Factor Indicator (FFI)"
    assert views["9F6E"].words == (("device", "consumer mobile phone"),)
    assert views["57"].value == "476173******0119D***"
    clear = {view.path: view for view in describe_tlv(WALLET, unsafe=True)}
    assert clear["57"].value == "4761739001010119D31122011234567800000F"


def test_a_template_shows_its_objects_only() -> None:
    data = bytes.fromhex("70039C0100DF7F0100")
    views = describe_tlv(decode_tlv(data))
    assert [(view.path, view.name, view.value) for view in views] == [
        ("70", "READ RECORD Response Message Template", ""),
        ("70.9C", "Transaction Type", "00"),
        ("DF7F", "unknown tag", "00"),
    ]


PACKED = bytes.fromhex(TEST_PAN)
SPELLED = TEST_PAN.encode()
PLACES = [*sorted(NEVER_IN_CLEAR), "9F10", "9F7C", "9F1E", "50", "DF7F", "C1", "9F16"]


@pytest.mark.parametrize("tag", PLACES)
@pytest.mark.parametrize(
    "value",
    [
        PACKED,
        SPELLED,
        b"\x00" + PACKED + b"\x0f",
        b"x" + SPELLED + b"x",
        bytes.fromhex(f"{TEST_PAN}D31122011234567800000F"),
    ],
    ids=["packed", "text", "packed-inside", "text-inside", "track"],
)
def test_a_card_number_hidden_anywhere_does_not_show(tag: str, value: bytes) -> None:
    shown = show_value(tag, value)
    assert TEST_PAN not in shown
    assert SPELLED.hex().upper() not in shown


def test_a_number_that_is_no_track_is_hidden_whole() -> None:
    assert show_value("57", b"\x12") == "***"
    assert show_value("50", b"\x00\x01") == "0001"


def test_unknown_tags_are_reported_with_path_and_size() -> None:
    tlv = decode_tlv(bytes.fromhex("7004DF7F0112E903C10100"))
    assert list(unknown_tags(tlv)) == [("70.DF7F", 1), ("E9", 3), ("E9.C1", 1)]
