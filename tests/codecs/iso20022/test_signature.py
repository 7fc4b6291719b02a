"""Signatures travel beside documents and cover their exact bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import DecodeError, EncodeError
from isoswitch.codecs.iso20022.signature import (
    Signature,
    from_header,
    join_payload,
    signing_input,
    split_payload,
    to_header,
)

SIGNATURES = st.builds(
    Signature,
    key_name=st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
    value=st.binary(min_size=1, max_size=1_024),
)


@given(signature=SIGNATURES, document=st.binary(max_size=50).map(b"<".__add__))
def test_a_signature_survives_both_ways(signature: Signature, document: bytes) -> None:
    assert split_payload(join_payload(document, signature)) == (document, signature)
    assert from_header(to_header(signature)) == signature
    assert split_payload(document) == (document, None)
    assert signing_input(document) is document


@given(signature=SIGNATURES, cut=st.integers(4, 3_000))
def test_a_signature_cut_short_is_refused(signature: Signature, cut: int) -> None:
    whole = join_payload(b"", signature)
    if cut < len(whole):
        with pytest.raises(DecodeError, match="signature"):
            split_payload(whole[:cut])


@given(rest=st.binary(max_size=80), text=st.text(max_size=80))
def test_whatever_comes_is_split_or_refused(rest: bytes, text: str) -> None:
    try:
        document, signature = split_payload(b"SIG1" + rest)
    except DecodeError:
        pass
    else:
        assert signature is not None
        assert join_payload(document, signature) == b"SIG1" + rest
    with pytest.raises(DecodeError):
        from_header(text)


@pytest.mark.parametrize(
    ("name", "value"), [("", b"x"), ("a b", b"x"), ("a", b""), ("a", bytes(1_025))]
)
def test_what_is_no_signature_is_not_made(name: str, value: bytes) -> None:
    with pytest.raises(EncodeError):
        Signature(key_name=name, value=value)
    octets = name.encode()
    head = b"SIG1" + len(octets).to_bytes(1) + octets
    with pytest.raises(DecodeError, match="no signature"):
        split_payload(head + len(value).to_bytes(2) + value)


@pytest.mark.parametrize(
    "text", ['key="a", value="YQ="', 'key="a", value="===="', "YQ=="]
)
def test_a_header_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(DecodeError, match="Isoswitch-Signature"):
        from_header(text)
