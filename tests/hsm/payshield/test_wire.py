"""Host commands as bytes: recorded messages, and everything that is none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical import errors
from isoswitch.codecs.canonical.errors import ConfigError, DecodeError, EncodeError
from isoswitch.hsm.payshield.fields import Field, Form, Layout, Values, is_one_of
from isoswitch.hsm.payshield.layouts import PROFILES, get_profile
from isoswitch.hsm.payshield.wire import (
    ERRORS,
    decode_fields,
    encode_fields,
    fault_of,
)

VECTORS = json.loads(
    (Path(__file__).parents[2] / "vectors" / "payshield.json").read_text("utf-8")
)
LAYOUTS = get_profile("payshield").layouts
HEADER = 4
BODY = HEADER + 2


def values_of(case: dict[str, str]) -> Values:
    return {
        name: bytes.fromhex(text[4:]) if text.startswith("hex:") else text
        for name, text in case.items()
    }


def code_of(case: dict[str, Any]) -> str:
    return str(case["code"])


@pytest.mark.parametrize("case", VECTORS["requests"], ids=code_of)
def test_a_recorded_request_is_written_and_read(case: dict[str, Any]) -> None:
    layout, message = LAYOUTS[case["code"]], bytes.fromhex(case["hex"])
    values = values_of(case["values"])
    assert message[HEADER:BODY] == layout.code.encode()
    assert encode_fields(layout.request, values) == message[BODY:]
    assert decode_fields(layout.request, message[BODY:]) == values


@pytest.mark.parametrize("case", VECTORS["answers"], ids=code_of)
def test_a_recorded_answer_is_read_and_written(case: dict[str, Any]) -> None:
    layout, message = LAYOUTS[case["code"]], bytes.fromhex(case["hex"])
    request = values_of(case["request"])
    assert message[HEADER : BODY + 2] == f"{layout.response_code}00".encode()
    found = decode_fields(layout.response, message[BODY + 2 :], request)
    assert found == values_of(case["values"])
    written = encode_fields(layout.response, {**request, **found})
    assert written == message[BODY + 2 :]


@pytest.mark.parametrize("case", VECTORS["refusals"], ids=code_of)
def test_a_recorded_refusal_is_the_error_it_means(case: dict[str, Any]) -> None:
    message = bytes.fromhex(case["hex"])
    error = message[BODY : BODY + 2].decode()
    fault = fault_of(LAYOUTS[case["code"]], error)
    assert type(fault) is getattr(errors, case["fault"])


@pytest.mark.parametrize(("code", "error"), [("DA", "02"), ("EA", "02"), ("A6", "01")])
def test_a_warning_is_no_refusal(code: str, error: str) -> None:
    assert fault_of(LAYOUTS[code], error) is None
    assert fault_of(LAYOUTS["CC"], error) is not None


def test_an_unknown_error_names_the_command_and_the_code() -> None:
    fault = fault_of(LAYOUTS["CC"], "99")
    assert type(fault) is errors.HsmError
    assert str(fault) == "the payment HSM answers CC with error 99"


@pytest.mark.parametrize("error", ERRORS)
def test_every_error_has_a_kind_that_callers_know(error: str) -> None:
    fault = fault_of(LAYOUTS["CC"], error)
    assert isinstance(fault, errors.HsmError | errors.VerificationFailed)


@pytest.mark.parametrize("case", VECTORS["requests"], ids=code_of)
def test_a_request_cut_anywhere_is_refused(case: dict[str, Any]) -> None:
    body = bytes.fromhex(case["hex"])[BODY:]
    optional = {"A0": (5, 8)}.get(case["code"], ())
    for end in range(len(body)):
        if end in optional:
            continue
        with pytest.raises(DecodeError):
            decode_fields(LAYOUTS[case["code"]].request, body[:end])


@pytest.mark.parametrize("case", VECTORS["requests"], ids=code_of)
def test_more_than_the_layout_knows_is_refused(case: dict[str, Any]) -> None:
    body = bytes.fromhex(case["hex"])[BODY:] + b"!"
    with pytest.raises(DecodeError):
        decode_fields(LAYOUTS[case["code"]].request, body)


@given(data=st.binary(max_size=80), code=st.sampled_from(sorted(LAYOUTS)))
def test_random_bytes_are_read_or_refused(data: bytes, code: str) -> None:
    layout = LAYOUTS[code]
    request = {"mode": "1", "size": "1", "target": "U0"}
    for fields in (layout.request, layout.response):
        try:
            found = decode_fields(fields, data, request)
        except DecodeError:
            continue
        written = encode_fields(fields, {**request, **found})
        assert written.upper() == data.upper()


@given(
    values=st.fixed_dictionaries(
        {
            "pan": st.text("0123456789", min_size=8, max_size=19),
            "mac": st.binary(min_size=4, max_size=4),
            "message": st.binary(max_size=300),
            "mode": st.sampled_from("01"),
        }
    )
)
def test_what_is_written_is_read_again(values: dict[str, Any]) -> None:
    fields = (
        Field("mode", Form.DIGITS, size=1),
        Field("pan", Form.DIGITS, until=";"),
        Field("message", Form.BYTES, counted=4, until=";"),
        Field("mac", Form.HEX, size=4, when=is_one_of("mode", "1")),
    )
    expected = {**values}
    if values["mode"] == "0":
        del expected["mac"]
    assert decode_fields(fields, encode_fields(fields, values)) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (Field("f", Form.DIGITS, size=2), "1"),
        (Field("f", Form.DIGITS, size=2), "1x"),
        (Field("f", Form.DIGITS, size=2), "١٢"),
        (Field("f", Form.DIGITS, size=2), b"12"),
        (Field("f", Form.TEXT, size=2), "é "),
        (Field("f", Form.TEXT, until=";"), "a;b"),
        (Field("f", Form.HEX, size=2), "12AB"),
        (Field("f", Form.HEX, size=2), b"\x12"),
        (Field("f", Form.BYTES, counted=1), bytes(16)),
        (Field("f", Form.KEY), "U12"),
        (Field("f", Form.KEY), "Q" + "0" * 32),
        (Field("f", Form.KEY), "S1000"),
        (Field("f", Form.TEXT, size=2), None),
    ],
)
def test_a_value_that_does_not_fit_is_not_written(field: Field, value: Any) -> None:
    with pytest.raises(EncodeError) as caught:
        encode_fields((field,), {} if value is None else {"f": value})
    assert value is None or str(value) not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "data"),
    [
        (Field("f", Form.DIGITS, size=2), b"1 "),
        (Field("f", Form.DIGITS, size=2), b"\xb21"),
        (Field("f", Form.HEX, size=1), b"G0"),
        (Field("f", Form.HEX, size=1), b" 1"),
        (Field("f", Form.HEX), b"123"),
        (Field("f", Form.TEXT, size=2), b"a\n"),
        (Field("f", Form.DIGITS, until=";"), b"12"),
        (Field("f", Form.BYTES, counted=2), b"0x"),
        (Field("f", Form.BYTES, counted=2), b"0"),
        (Field("f", Form.KEY), b"U12"),
        (Field("f", Form.KEY), b"1234567890123456"),
        (Field("f", Form.KEY), b"S1+072"),
        (Field("f", Form.TEXT, size=2, constant="FF"), b"F0"),
    ],
)
def test_bytes_of_another_form_are_refused(field: Field, data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_fields((field,), data)


def test_an_unknown_profile_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match="there are payshield, legacy"):
        get_profile("nonesuch")


@pytest.mark.parametrize("profile", PROFILES)
def test_a_profile_has_each_command_under_its_own_letters(profile: str) -> None:
    layouts = PROFILES[profile].layouts
    for code, layout in layouts.items():
        assert layout.code == code
        assert layout.response_code not in layouts


def test_a_layout_without_conditions_needs_no_request() -> None:
    layout = Layout(code="XX", request=(), response=(Field("f", Form.TEXT),))
    assert decode_fields(layout.response, b"all of it") == {"f": "all of it"}
