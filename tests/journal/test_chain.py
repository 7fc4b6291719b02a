"""The hash chain: what it covers, and that every break of it is found and placed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import EncodeError
from isoswitch.codecs.canonical.secrets import Pan, PinBlock
from isoswitch.journal.chain import (
    GENESIS,
    ChainVerdict,
    Checkpoint,
    Link,
    chain_hash,
    decode_record,
    encode_record,
    to_checkpoint,
    walk_chain,
    walk_records,
)
from isoswitch.journal.merkle import MerkleTree
from isoswitch.journal.records import ChainedRecord, Record, RecordKind

AT = "2026-01-31T12:00:00.000000Z"
# JSON of a record as any tool writes it: sorted keys, no spaces, UTF-8.
ENCODED = (
    b'{"at":"2026-01-31T12:00:00.000000Z","body":{"a":"\xc3\xa9","b":[1,null,true]},'
    b'"kind":"opened","transaction_id":"1"}'
)

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=10,
)


def _record(number: int, **body: object) -> Record:
    return Record(
        kind=RecordKind.OPENED, transaction_id=str(number), at=AT, body={**body}
    )


def _chain(count: int) -> list[Link]:
    links = []
    head = GENESIS
    for seq in range(1, count + 1):
        encoded = encode_record(_record(seq, amount=seq))
        head = chain_hash(head, seq, encoded)
        links.append(Link(seq=seq, encoded=encoded, hash=head))
    return links


def _root(links: list[Link]) -> bytes:
    tree = MerkleTree()
    for link in links:
        tree.append(link.hash)
    return tree.root()


def test_the_canonical_form_is_pinned() -> None:
    body = {"b": [1, None, True], "a": "é"}
    record = Record(kind=RecordKind.OPENED, transaction_id="1", at=AT, body=body)
    assert encode_record(record) == ENCODED
    assert decode_record(ENCODED) == record


def test_the_first_hash_is_pinned() -> None:
    expected = hashlib.sha256(bytes(32) + bytes(7) + b"\x01" + ENCODED).digest()
    assert chain_hash(GENESIS, 1, ENCODED) == expected


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_a_record_survives_encoding_and_stays_canonical(
    body: dict[str, object],
) -> None:
    record = Record(kind=RecordKind.OPENED, transaction_id="1", at=AT, body=body)
    encoded = encode_record(record)
    assert encode_record(decode_record(encoded)) == encoded
    assert json.loads(encoded)["body"] == body


@dataclass(frozen=True, slots=True)
class _Plain:
    pan: str


@pytest.mark.parametrize(
    "value",
    [
        Pan("4761739001010010"),
        PinBlock(bytes(8)),
        _Plain("4761739001010010"),
        datetime(2026, 1, 31, tzinfo=UTC),
        b"4761739001010010",
        {1: "a key that is no text"},
        2**70,
        "\ud800",
    ],
    ids=["pan", "pin-block", "dataclass", "date", "bytes", "key", "big", "surrogate"],
)
def test_what_is_not_json_is_refused_without_being_shown(value: object) -> None:
    with pytest.raises(EncodeError) as refused:
        encode_record(_record(1, value=value))
    assert "4761739001010010" not in str(refused.value)
    assert refused.value.field == "journal.opened"


@pytest.mark.parametrize(
    "encoded",
    [b"", b"[]", b"{}", b"{", b'{"at":"","body":{},"kind":"?","transaction_id":""}'],
)
def test_what_is_no_record_does_not_decode(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="record"):
        decode_record(encoded)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_a_sound_chain_is_sound(count: int) -> None:
    links = _chain(count)
    head = links[-1].hash if links else GENESIS
    assert walk_chain(links) == ChainVerdict(last_seq=count, head=head)


def test_decoded_records_are_walked_as_well() -> None:
    records = [
        ChainedRecord(seq=link.seq, record=decode_record(link.encoded), hash=link.hash)
        for link in _chain(5)
    ]
    assert walk_records(records).is_sound
    records[2] = replace(records[2], record=_record(3, amount=999))
    assert walk_records(records).first_bad_seq == 3


def test_a_walk_goes_on_from_an_earlier_verdict() -> None:
    links = _chain(9)
    earlier = walk_chain(links[:4])
    assert walk_chain(links[4:], after=earlier) == walk_chain(links)


@pytest.mark.parametrize("seq", [1, 5, 9])
@pytest.mark.parametrize("position", [0, 30, -1])
def test_a_flipped_bit_is_found_at_its_record(seq: int, position: int) -> None:
    links = _chain(9)
    flipped = bytearray(links[seq - 1].encoded)
    flipped[position] ^= 1
    links[seq - 1] = replace(links[seq - 1], encoded=bytes(flipped))
    verdict = walk_chain(links)
    assert (verdict.first_bad_seq, verdict.last_seq) == (seq, seq - 1)
    assert "hash" in verdict.reason


def test_a_flipped_hash_is_found() -> None:
    links = _chain(9)
    links[4] = replace(links[4], hash=bytes(32))
    assert walk_chain(links).first_bad_seq == 5


def test_a_deleted_record_is_found() -> None:
    links = _chain(9)
    del links[4]
    verdict = walk_chain(links)
    assert (verdict.first_bad_seq, verdict.reason) == (
        5,
        "record 5 is missing, the next one is 6",
    )


def test_a_deleted_and_renumbered_record_is_found() -> None:
    links = _chain(9)
    del links[4]
    links[4:] = [replace(link, seq=link.seq - 1) for link in links[4:]]
    assert walk_chain(links).first_bad_seq == 5


def test_an_inserted_record_is_found() -> None:
    links = _chain(9)
    links.insert(4, replace(links[4], encoded=encode_record(_record(5))))
    assert walk_chain(links).first_bad_seq == 5


def test_swapped_records_are_found() -> None:
    links = _chain(9)
    links[3], links[4] = replace(links[4], seq=4), replace(links[3], seq=5)
    assert walk_chain(links).first_bad_seq == 4


def test_a_cut_tail_shows_only_against_a_head_kept_outside() -> None:
    links = _chain(9)
    outside = {9: links[-1].hash}
    assert walk_chain(links[:7]).is_sound
    verdict = walk_chain(links[:7], heads=outside)
    assert (verdict.first_bad_seq, verdict.last_seq) == (8, 7)
    assert walk_chain(links, heads=outside).is_sound


def test_a_chain_computed_anew_shows_only_against_a_head_kept_outside() -> None:
    links = _chain(9)
    outside = {9: links[-1].hash}
    anew = _chain(4)
    for seq in range(5, 10):
        encoded = encode_record(_record(seq, amount=0))
        digest = chain_hash(anew[-1].hash, seq, encoded)
        anew.append(Link(seq=seq, encoded=encoded, hash=digest))
    assert walk_chain(anew).is_sound
    assert walk_chain(anew, heads=outside).first_bad_seq == 9


def test_merkle_roots_are_met_at_their_size() -> None:
    links = _chain(9)
    roots = {4: _root(links[:4]), 9: _root(links)}
    assert walk_chain(links, roots=roots).is_sound
    assert walk_chain(links, roots={4: roots[9]}).first_bad_seq == 4
    assert walk_chain(links[:8], roots=roots).first_bad_seq == 9


def test_a_checkpoint_says_what_its_signature_covers() -> None:
    body = {"size": 2, "root": "ab" * 32, "key": "journal/sign", "signature": "cd"}
    record = Record(kind=RecordKind.CHECKPOINT, transaction_id="", at=AT, body=body)
    checkpoint = to_checkpoint(record)
    assert checkpoint == Checkpoint(
        size=2, root=b"\xab" * 32, key="journal/sign", signature=b"\xcd"
    )
    signed = b"isoswitch-checkpoint\n2\n" + b"ab" * 32 + b"\n"
    assert checkpoint.signed_bytes == signed


@pytest.mark.parametrize(
    "body",
    [{}, {"size": 1, "root": "x", "key": "", "signature": ""}, {"size": None}],
)
def test_what_is_no_checkpoint_is_refused(body: dict[str, object]) -> None:
    record = Record(kind=RecordKind.CHECKPOINT, transaction_id="", at=AT, body=body)
    with pytest.raises(ValueError, match="checkpoint"):
        to_checkpoint(record)
