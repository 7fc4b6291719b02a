"""Whether a store is what was written: its chain, and what of its tables follows.

The chain shows that no record was changed, removed, added or swapped. The rules
(``rules.py``) compare with the records, and with one another, what the tables say of
transactions, store and forward, and the ledger: most edits of these by hand show.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from isoswitch.codecs.canonical.errors import StoreUnavailable, VerificationFailed
from isoswitch.journal.chain import (
    GENESIS,
    ChainVerdict,
    Checkpoint,
    to_checkpoint,
    walk_chain,
)
from isoswitch.store.place import Place
from isoswitch.store.reader import Connection, StoreReader, open_connection
from isoswitch.store.rules import RULES

TAIL_RECORDS = 1000
FINDINGS_MAX = 20

SignatureVerifier = Callable[[Checkpoint], None]


class StoreContradiction(StoreUnavailable):
    """The store is not what was written to it; nothing may be built on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreVerdict:
    """What an inspection found; ``findings`` are sentences, at most 20."""

    chain: ChainVerdict
    findings: tuple[str, ...] = ()

    @property
    def is_sound(self) -> bool:
        """Whether the chain holds, and every rule."""
        return self.chain.is_sound and not self.findings


def inspect_store(
    place: Place,
    *,
    heads: Mapping[int, bytes] | None = None,
    verify_signature: SignatureVerifier | None = None,
) -> StoreVerdict:
    """Walk the journal of a store and compare its tables with it.

    Works while a switch writes: all is read from one snapshot.

    Parameters
    ----------
    heads
        Hashes by sequence that were noted down outside the store. Without them, or
        signed checkpoints, a cut tail does not show.
    verify_signature
        Raises `VerificationFailed` for a checkpoint that nobody trusted has signed.

    Raises
    ------
    StoreUnavailable
        The store cannot be read at all.
    """
    with open_connection(place) as connection:
        is_file = isinstance(place, Path)
        connection.execute(
            "BEGIN" if is_file else "BEGIN ISOLATION LEVEL REPEATABLE READ"
        )
        reader = StoreReader(connection)
        roots: dict[int, bytes] = {}
        # PostgreSQL looks at its files itself.
        findings = [*_damage(connection)] if is_file else []
        if verify_signature is not None:
            findings += _read_checkpoints(reader, verify_signature, roots)
        chain = walk_chain(reader.links(), heads=heads, roots=roots)
        if chain.is_sound:
            findings += _breaches(connection)
        return StoreVerdict(chain=chain, findings=tuple(findings[:FINDINGS_MAX]))


def verify_tail(reader: StoreReader) -> None:
    """Check the newest records before anything is built on them.

    Raises
    ------
    StoreContradiction
        The chain is broken among them.
    """
    last_seq, _ = reader.head()
    first = max(last_seq - TAIL_RECORDS, 0)
    before = next(reader.links(after_seq=first - 1), None) if first else None
    start = ChainVerdict(last_seq=first, head=before.hash if before else GENESIS)
    verdict = walk_chain(reader.links(after_seq=first), after=start)
    if not verdict.is_sound:
        msg = (
            f"the journal contradicts itself at record {verdict.first_bad_seq}: "
            f"{verdict.reason}; restore the store from its newest sound copy"
        )
        raise StoreContradiction(msg)


def _damage(connection: Connection) -> list[str]:
    """List what SQLite itself finds wrong with the file."""
    rows = connection.execute("PRAGMA integrity_check").fetchall()
    return [f"the file is damaged: {row[0]}" for row in rows if row[0] != "ok"]


def _breaches(connection: Connection) -> list[str]:
    return [
        ": ".join((place, f"it does not hold that {rule.sentence}", *differing))
        for rule in RULES
        for place, *differing in connection.execute(
            f"{rule.breaches} LIMIT {FINDINGS_MAX}"
        )
    ]


def _read_checkpoints(
    reader: StoreReader, verify_signature: SignatureVerifier, roots: dict[int, bytes]
) -> list[str]:
    """Collect the roots of the checkpoints in the journal; list the untrusted ones."""
    findings = []
    for chained in reader.checkpoints():
        try:
            checkpoint = to_checkpoint(chained.record)
            verify_signature(checkpoint)
            roots[checkpoint.size] = checkpoint.root
        except (ValueError, VerificationFailed) as exc:
            findings.append(f"record {chained.seq}: checkpoint not trusted: {exc}")
    return findings
