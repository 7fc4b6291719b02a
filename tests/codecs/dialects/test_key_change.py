"""Working keys in messages of each edition."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.dialects.key_change import (
    KeyPurpose,
    SignIn,
    TransportedKey,
    read_key_change,
    read_sign_in,
    read_terminal_keys,
    write_key_change,
    write_terminal_keys,
)
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.iso8583.message import Message

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOSTS = ("iso87-ascii", "iso87-bcd", "iso93-ascii", "iso93-bcd", "iso2003")
BLOCK = (
    b"B0080P0TE00E000094B420079CC80BA3461F86FE26EFC4A3B8E4FA4C5F5341176EED7B727B8A248E"
)
KEYS = (
    TransportedKey(payload=bytes(range(16)), check_value=bytes.fromhex("8CA64D")),
    TransportedKey(payload=BLOCK, is_block=True),
    TransportedKey(payload=BLOCK, check_value=bytes.fromhex("8CA64D"), is_block=True),
    TransportedKey(payload=b"", check_value=bytes.fromhex("8CA64DE9C1")),
)


def sent(name: str, fields: dict[int, str | bytes]) -> Message:
    """Put fields in a key change, and take it off the wire."""
    dialect = get_dialect(name)
    message = dialect.network_request(
        Kind.KEY_CHANGE, stan="000001", transmitted_at=NOW, extra=fields
    )
    return dialect.codec.decode(message.raw)


@pytest.mark.parametrize("name", HOSTS)
@pytest.mark.parametrize("purpose", KeyPurpose)
@pytest.mark.parametrize("key", KEYS)
def test_a_key_arrives_as_it_was_sent(
    name: str, purpose: KeyPurpose, key: TransportedKey
) -> None:
    dialect = get_dialect(name)
    message = sent(name, write_key_change(dialect, purpose, key))
    assert read_key_change(dialect, message) == (purpose, key)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {53: "1200000000000000"},
        {120: "8CA64D"},
        {53: "3206000000000000", 120: "8CA64D"},
        {53: "1306000000000000", 120: "8CA64D"},
        {53: "1206000000000000", 120: "8CA6"},
        {53: "1205000000000000", 120: "8CA64"},
        {53: "1206000000000000", 120: "hello world"},
        {53: "1200000000000000", 120: "ABC"},
    ],
)
def test_what_is_no_key_change_is_refused(fields: dict[int, str | bytes]) -> None:
    with pytest.raises(DecodeError):
        read_key_change(get_dialect("iso87-ascii"), sent("iso87-ascii", fields))


@given(
    control=st.from_regex(r"[0-9]{16}", fullmatch=True),
    content=st.text("0A1F", max_size=40),
)
def test_any_content_is_read_or_refused(control: str, content: str) -> None:
    message = sent("iso87-ascii", {53: control, 120: content or "0"})
    try:
        _, key = read_key_change(get_dialect("iso87-ascii"), message)
    except DecodeError:
        return
    assert len(key.check_value) * 2 == int(control[2:4])


@pytest.mark.parametrize(
    ("sizes", "total"),
    [
        ((8, 8), 24),
        ((16, 8), 40),
        ((16, 16), 40),
        ((24, 16), 56),
        ((16, 16, 16), 60),
        ((24, 16, 8), 84),
    ],
)
@pytest.mark.parametrize("name", ["cup-pos", "iso87-ascii", "iso87-bcd"])
def test_the_keys_of_a_terminal_arrive(
    name: str, sizes: tuple[int, ...], total: int
) -> None:
    """UnionPay's DE 62: value and four bytes check value, 24 to 84 bytes in all."""
    dialect = get_dialect(name)
    keys = [
        TransportedKey(payload=bytes([size] * size), check_value=b"abcd")
        for size in sizes
    ]
    (content,) = write_terminal_keys(dialect, keys).values()
    octets = bytes.fromhex(content) if isinstance(content, str) else content
    assert len(octets) == total
    message = dialect.codec.build("0810", {11: "000001", 39: "00", 62: content})
    read = read_terminal_keys(dialect, dialect.codec.decode(message.raw))
    assert [key.payload.rstrip(b"\x00") for key in read] == [k.payload for k in keys]
    assert {key.check_value for key in read} == {b"abcd"}


def test_encrypted_keys_that_look_like_a_block_are_encrypted_keys() -> None:
    """Digits two to five may happen to be as long as all of them."""
    dialect = get_dialect("iso87-ascii")
    keys = [
        TransportedKey(payload=b"\x60\x08\x0e" + bytes(13), check_value=b"abcd")
    ] * 2
    fields = write_terminal_keys(dialect, keys)
    message = dialect.codec.build("0810", {11: "000001", 39: "00", **fields})
    assert read_terminal_keys(dialect, message) == keys


def test_key_blocks_for_a_terminal_follow_each_other() -> None:
    dialect = get_dialect("iso87-ascii")
    keys = [TransportedKey(payload=BLOCK, is_block=True)] * 2
    fields = write_terminal_keys(dialect, keys)
    message = dialect.codec.build("0810", {11: "000001", 39: "00", **fields})
    assert read_terminal_keys(dialect, message) == keys


@pytest.mark.parametrize(
    "content", [None, "hello", "00" * 25, BLOCK.decode()[:-1], "B0016P0TE00E0000"]
)
def test_a_sign_in_answer_without_keys_is_refused(content: str | None) -> None:
    fields: dict[int, str | bytes] = {11: "000001", 39: "00"}
    if content is not None:
        fields[62] = content
    dialect = get_dialect("iso87-ascii")
    with pytest.raises(DecodeError):
        read_terminal_keys(dialect, dialect.codec.build("0810", fields))


@pytest.mark.parametrize(
    ("name", "code", "wanted"),
    [
        ("cup-pos", "001", SignIn(count=2, length=8)),
        ("cup-pos", "003", SignIn(count=2, length=0)),
        ("cup-pos", "004", SignIn(count=3, length=0)),
        ("cup-pos", "999", SignIn()),
        ("iso87-ascii", "001", SignIn()),
    ],
)
def test_a_sign_in_says_how_many_keys_it_wants(
    name: str, code: str, wanted: SignIn
) -> None:
    assert read_sign_in(get_dialect(name), code) == wanted
