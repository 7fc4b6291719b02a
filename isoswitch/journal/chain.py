"""The hash chain of the journal: what a record's hash covers, and who broke it.

Each record is written as canonical JSON (UTF-8, sorted keys, no spaces) and hashed
together with its place and the hash before it, so that any tool can follow the chain:

    hash(0) = 32 zero bytes
    hash(n) = SHA-256( hash(n-1) | n as 8 bytes, big endian | canonical JSON of n )

    {"at":"2026-01-31T12:00:00.000000Z","body":{},"kind":"opened","transaction_id":"1"}

A chain alone shows a changed, missing, added or swapped record, but not a cut tail
and not a chain computed anew by somebody who can write the store. For that the head
of the chain, or a signed checkpoint, must be kept outside the store. A checkpoint is
a record of kind ``checkpoint`` with the body

    size       how many records it covers: those with the sequences 1 to ``size``
    root       RFC 6962 Merkle root over their hashes, hex
    key        the name of the key that signed
    signature  over ``isoswitch-checkpoint\\n<size>\\n<root>\\n``, hex

The signatures (over `Checkpoint.signed_bytes`) of checkpoints in the journal, and of
copies kept elsewhere, are verified first; their roots are then given to `walk_chain`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import orjson

from isoswitch.codecs.canonical.errors import EncodeError
from isoswitch.journal.merkle import MerkleTree
from isoswitch.journal.records import ChainedRecord, Record, RecordKind

GENESIS = bytes(32)

# A dataclass or a date in a body would be written in a form that is not ours to keep.
_CANONICAL = (
    orjson.OPT_SORT_KEYS
    | orjson.OPT_PASSTHROUGH_DATACLASS
    | orjson.OPT_PASSTHROUGH_DATETIME
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A record as the store holds it: its place, its canonical JSON, its hash."""

    seq: int
    encoded: bytes
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A signed statement about the first ``size`` records."""

    size: int
    root: bytes
    key: str
    signature: bytes

    @property
    def signed_bytes(self) -> bytes:
        """What the signature covers."""
        return f"isoswitch-checkpoint\n{self.size}\n{self.root.hex()}\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainVerdict:
    """What a walk along the chain found.

    ``head`` is the hash of the last sound record, ``last_seq`` its place;
    ``first_bad_seq`` is None when all of the chain is sound.
    """

    last_seq: int
    head: bytes
    first_bad_seq: int | None = None
    reason: str = ""

    @property
    def is_sound(self) -> bool:
        """Whether every record stands where and as it was written."""
        return self.first_bad_seq is None


def encode_record(record: Record) -> bytes:
    """Give the canonical bytes of a record.

    Raises
    ------
    EncodeError
        The body holds something that JSON does not know, such as a secret.

    Examples
    --------
    >>> encode_record(Record(kind=RecordKind.BOOT, transaction_id="", at="T"))
    b'{"at":"T","body":{},"kind":"boot","transaction_id":""}'
    """
    try:
        return orjson.dumps(
            {
                "at": record.at,
                "body": record.body,
                "kind": record.kind,
                "transaction_id": record.transaction_id,
            },
            option=_CANONICAL,
        )
    except TypeError as exc:
        # The reason names a type or a rule, never a value.
        raise EncodeError(str(exc), field=f"journal.{record.kind}") from None


def decode_record(encoded: bytes | str) -> Record:
    """Read canonical bytes back.

    Raises
    ------
    ValueError
        Not the canonical JSON of a record.
    """
    try:
        fields = orjson.loads(encoded)
        return Record(
            kind=RecordKind(fields["kind"]),
            transaction_id=fields["transaction_id"],
            at=fields["at"],
            body=fields["body"],
        )
    except (KeyError, TypeError, ValueError):
        msg = "not a journal record"
        raise ValueError(msg) from None


def chain_hash(previous: bytes, seq: int, encoded: bytes) -> bytes:
    """Hash a record into the chain.

    Examples
    --------
    >>> chain_hash(GENESIS, 1, b"{}").hex()[:16]
    '1bad765d926feaca'
    """
    return hashlib.sha256(previous + seq.to_bytes(8, "big") + encoded).digest()


def walk_chain(
    links: Iterable[Link],
    *,
    after: ChainVerdict | None = None,
    heads: Mapping[int, bytes] | None = None,
    roots: Mapping[int, bytes] | None = None,
) -> ChainVerdict:
    """Walk a chain from its first record, or on from an earlier verdict.

    Parameters
    ----------
    links
        Records in the order of their sequence.
    after
        An earlier verdict whose head comes right before ``links``.
    heads
        Hashes by sequence that were kept outside the store; each must be met.
    roots
        Merkle roots by size from verified checkpoints; each must be met. They need the
        chain from its first record.
    """
    heads, roots = heads or {}, roots or {}
    assert not (roots and after), "a Merkle root covers the chain from its start"
    tree = MerkleTree()
    seq, head = (after.last_seq, after.head) if after else (0, GENESIS)
    reason = ""
    for link in links:
        reason = _fault(link, seq, head, heads)
        if not reason and roots:
            tree.append(link.hash)
            if link.seq in roots and roots[link.seq] != tree.root():
                reason = "the Merkle root is not the one of the checkpoint"
        if reason:
            break
        seq, head = link.seq, link.hash
    known = max((*heads, *roots), default=0)
    if not reason and known > seq:
        reason = f"the journal ends here, but record {known} is known outside"
    return ChainVerdict(
        last_seq=seq,
        head=head,
        first_bad_seq=seq + 1 if reason else None,
        reason=reason,
    )


def walk_records(
    records: Iterable[ChainedRecord], *, after: ChainVerdict | None = None
) -> ChainVerdict:
    """Walk a chain of decoded records; see `walk_chain`."""
    links = (
        Link(seq=chained.seq, encoded=encode_record(chained.record), hash=chained.hash)
        for chained in records
    )
    return walk_chain(links, after=after)


def to_checkpoint(record: Record) -> Checkpoint:
    """Read the body of a checkpoint record.

    Raises
    ------
    ValueError
        A field is missing or not of its form.
    """
    try:
        return Checkpoint(
            size=int(record.body["size"]),
            root=bytes.fromhex(record.body["root"]),
            key=str(record.body["key"]),
            signature=bytes.fromhex(record.body["signature"]),
        )
    except (KeyError, TypeError, ValueError):
        msg = "not a checkpoint"
        raise ValueError(msg) from None


def _fault(link: Link, last_seq: int, head: bytes, heads: Mapping[int, bytes]) -> str:
    """Say what is wrong with a link, or nothing."""
    if link.seq != last_seq + 1:
        return f"record {last_seq + 1} is missing, the next one is {link.seq}"
    if link.hash != chain_hash(head, link.seq, link.encoded):
        return "the hash does not cover this record and the chain before it"
    if heads.get(link.seq, link.hash) != link.hash:
        return "the hash is not the one known outside"
    return ""
