"""Tampering with a store file shows, and says where."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import apsw
import pytest

from isoswitch.codecs.canonical.errors import StoreUnavailable, VerificationFailed
from isoswitch.codecs.canonical.money import Money
from isoswitch.journal.chain import (
    GENESIS,
    Checkpoint,
    chain_hash,
    encode_record,
)
from isoswitch.journal.merkle import MerkleTree
from isoswitch.journal.records import RecordKind
from isoswitch.ledger.holds import Capture, Place, Release
from isoswitch.store.inspection import StoreContradiction, inspect_store
from isoswitch.store.port import (
    Move,
    SafState,
    TransactionState,
    UnitOfWork,
)
from isoswitch.store.reader import open_reader
from isoswitch.store.schema import connect_writer
from isoswitch.store.sqlite import open_sqlite_store
from tests.store.driving import write
from tests.store.units import (
    closing,
    opening,
    record,
    saf_entry,
    saf_update,
    standing_in,
    timing_out,
    transaction,
)

PURCHASES = 20
SEED = 7


HELD = Place(
    id="1",
    debit="issuer/alpha",
    credit="merchant/M1",
    amount=Money(1250, "978"),
)
CAPTURED = Capture(id="1", by="1", minor=1250, business_date="2026-01-31")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Make a store with purchases that were approved, timed out, or are under way.

    Entry 1 of store and forward is delivered, entry 2 set aside, and the first purchase
    was given back in part.
    """
    path = tmp_path / "store.db"
    batches = [
        _purchase(str(number), how=number % 3) for number in range(1, PURCHASES + 1)
    ]
    batches.append(
        [
            _ending(1, RecordKind.DELIVERED, SafState.DELIVERED),
            _ending(2, RecordKind.QUARANTINED, SafState.QUARANTINED),
        ]
    )
    batches.append(_refund("21", minor=250))
    batches.append([standing_in("22")])
    write(connect_writer(path), batches, checkpoint_pages=1000)
    return path


def _purchase(number: str, *, how: int) -> list[UnitOfWork]:
    """Make a purchase that was approved (1), timed out (2), or is under way (0)."""
    opened = replace(opening(number), ledger=(replace(HELD, id=number),))
    captured = replace(CAPTURED, id=number, by=number)
    ends = (
        [],
        [replace(closing(number), ledger=(captured,))],
        [replace(timing_out(number), ledger=(Release(id=number),))],
    )
    return [opened, *ends[how]]


def _refund(number: str, *, minor: int) -> list[UnitOfWork]:
    """Make a refund of a part of the first purchase."""
    held = Place(
        id=number,
        debit="merchant/M1",
        credit="issuer/alpha",
        amount=Money(minor, "978"),
        of="1",
    )
    captured = replace(CAPTURED, id=number, by=number, minor=minor)
    opened = opening(number, kind="refund", amount_minor=minor)
    return [
        replace(opened, ledger=(held,)),
        replace(closing(number), ledger=(captured,)),
    ]


def _ending(entry: int, kind: RecordKind, state: SafState) -> UnitOfWork:
    """Make the end of the reversal of the purchase that timed out as the nth."""
    told = record(kind, str(3 * entry - 1), endpoint="alpha")
    return replace(saf_update(entry, state=state), records=(told,))


def _tamper(path: Path, *statements: str) -> None:
    """Change the file as somebody with the database's tools would."""
    connection = apsw.Connection(str(path))
    connection.execute("DROP TRIGGER journal_is_not_changed")
    connection.execute("DROP TRIGGER journal_is_not_cut")
    connection.execute("DROP TRIGGER postings_are_not_changed")
    connection.execute("DROP TRIGGER postings_are_not_cut")
    for statement in statements:
        connection.execute(statement)
    connection.close()


def _rechain(path: Path) -> None:
    """Compute all hashes anew, as an insider would to hide a change."""
    connection = apsw.Connection(str(path))
    head = GENESIS
    for seq, encoded in connection.execute(
        "SELECT seq, record FROM journal ORDER BY seq"
    ).fetchall():
        head = chain_hash(head, seq, encoded.encode())
        connection.execute("UPDATE journal SET hash = ? WHERE seq = ?", (head, seq))
    connection.close()


def test_an_untouched_store_is_sound(path: Path) -> None:
    verdict = inspect_store(path)
    assert verdict.is_sound
    with open_reader(path) as reader:
        assert (verdict.chain.last_seq, verdict.chain.head) == reader.head()


TAMPERINGS: dict[str, tuple[int, tuple[str, ...]]] = {
    "edit": (1, ("UPDATE journal SET record = replace(record, '1250', '9950')",)),
    "space": (7, ("UPDATE journal SET record = record || ' ' WHERE seq = 7",)),
    "empty": (7, ("UPDATE journal SET record = '' WHERE seq = 7",)),
    "hash": (7, ("UPDATE journal SET hash = zeroblob(32) WHERE seq = 7",)),
    "delete": (7, ("DELETE FROM journal WHERE seq = 7",)),
    "delete-first": (1, ("DELETE FROM journal WHERE seq = 1",)),
    "delete-and-renumber": (
        7,
        (
            "DELETE FROM journal WHERE seq = 7",
            "UPDATE journal SET seq = seq - 1 WHERE seq > 7",
        ),
    ),
    "insert": (
        8,
        (
            "UPDATE journal SET seq = -seq WHERE seq > 7",
            "UPDATE journal SET seq = 1 - seq WHERE seq < 0",
            """INSERT INTO journal SELECT 8, transaction_id, record, hash
            FROM journal WHERE seq = 7""",
        ),
    ),
    "swap": (
        7,
        (
            "UPDATE journal SET seq = -1 WHERE seq = 7",
            "UPDATE journal SET seq = 7 WHERE seq = 8",
            "UPDATE journal SET seq = 8 WHERE seq = -1",
        ),
    ),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_a_change_of_the_journal_is_found_where_it_was_made(
    path: Path, name: str
) -> None:
    first_bad, statements = TAMPERINGS[name]
    _tamper(path, *statements)
    verdict = inspect_store(path)
    assert not verdict.is_sound
    assert verdict.chain.first_bad_seq == first_bad


def test_a_flip_of_any_byte_of_any_record_is_found(path: Path) -> None:
    random = Random(SEED)
    with open_reader(path) as reader:
        links = list(reader.links())
    for _ in range(40):
        link = random.choice(links)
        flipped = bytearray(link.encoded)
        flipped[random.randrange(len(flipped))] ^= 1
        _set_record(path, link.seq, bytes(flipped))
        assert inspect_store(path).chain.first_bad_seq == link.seq, f"seed {SEED}"
        _set_record(path, link.seq, link.encoded)
    assert inspect_store(path).is_sound


def _set_record(path: Path, seq: int, encoded: bytes) -> None:
    connection = apsw.Connection(str(path))
    connection.execute("DROP TRIGGER IF EXISTS journal_is_not_changed")
    connection.execute(
        "UPDATE journal SET record = ? WHERE seq = ?", (encoded.decode(), seq)
    )
    connection.close()


@pytest.mark.parametrize(
    "statements",
    [
        ("DELETE FROM journal WHERE seq > 70",),
        ("UPDATE journal SET record = replace(record, '1250', '9950')",),
    ],
    ids=["truncate", "edit"],
)
def test_what_is_chained_anew_shows_only_against_what_is_kept_outside(
    path: Path, statements: tuple[str, ...]
) -> None:
    before = inspect_store(path).chain
    _tamper(path, *statements)
    _rechain(path)
    assert inspect_store(path).chain.is_sound
    outside = {before.last_seq: before.head}
    assert not inspect_store(path, heads=outside).is_sound


# What is done to a row, where it is found, and what of it is told.
EDITS: dict[str, tuple[str, str, str]] = {
    "moved-record": (
        "UPDATE journal SET transaction_id = '2' WHERE seq = 1",
        "record 1",
        "a record lies under the transaction",
    ),
    "no-row": (
        "DELETE FROM transactions WHERE id = '3'",
        "transaction 3",
        "a transaction in the journal has its row",
    ),
    "closed": (
        "UPDATE transactions SET state = 'closed' WHERE id = '3'",
        "transaction 3",
        "the state of a transaction",
    ),
    "reopened": (
        "UPDATE transactions SET state = 'sending' WHERE id = '1'",
        "transaction 1",
        "the state of a transaction",
    ),
    "kind": (
        "UPDATE transactions SET kind = 'refund' WHERE id = '3'",
        "transaction 3",
        "the journal says purchase of 1250 978 at T1 on 2026-01-31",
    ),
    "amount": (
        "UPDATE transactions SET amount_minor = amount_minor * 100 WHERE id = '3'",
        "transaction 3",
        "the journal says purchase of 1250 978 at T1 on 2026-01-31",
    ),
    "currency": (
        "UPDATE transactions SET currency = '840' WHERE id = '3'",
        "transaction 3",
        "the journal says purchase of 1250 978 at T1 on 2026-01-31",
    ),
    "terminal": (
        "UPDATE transactions SET terminal_id = 'T2' WHERE id = '3'",
        "transaction 3",
        "the journal says purchase of 1250 978 at T1 on 2026-01-31",
    ),
    "date": (
        "UPDATE transactions SET business_date = '2026-02-01' WHERE id = '3'",
        "transaction 3",
        "the journal says purchase of 1250 978 at T1 on 2026-01-31",
    ),
    "outcome": (
        "UPDATE transactions SET outcome = replace(outcome, 'app', 'x') WHERE id = '1'",
        "transaction 1",
        "the journal says approved",
    ),
    "reversed": (
        "UPDATE transactions SET reversed = 1 WHERE id = '1'",
        "transaction 1",
        "a transaction that is marked as reversed was undone",
    ),
    "not-reversed": (
        "UPDATE transactions SET reversed = 0 WHERE id = '2'",
        "transaction 2",
        "a transaction that was undone is marked as reversed",
    ),
    "stand-in-gone": (
        "DELETE FROM stand_ins WHERE transaction_id = '22'",
        "transaction 22",
        "an approval in an issuer's place is counted",
    ),
    "saf-gone": (
        "DELETE FROM saf WHERE transaction_id = '2'",
        "transaction 2",
        "1 reversal to alpha by the journal, 0 stored",
    ),
    "saf-alien": (
        "UPDATE saf SET transaction_id = '1' WHERE id = 1",
        "transaction 1",
        "0 reversal to alpha by the journal, 1 stored",
    ),
    "saf-elsewhere": (
        "UPDATE saf SET endpoint = 'beta' WHERE id = 3",
        "transaction 8",
        "1 reversal to alpha by the journal, 0 stored",
    ),
    "saf-struck-out": (
        "UPDATE saf SET state = 'delivered' WHERE id = 3",
        "entry 3",
        "0 delivered by the journal, 1 stored",
    ),
    "saf-again": (
        "UPDATE saf SET state = 'pending' WHERE id = 1",
        "entry 1",
        "1 delivered by the journal, 0 stored",
    ),
    "saf-aside": (
        "UPDATE saf SET state = 'quarantined' WHERE id = 3",
        "entry 3",
        "0 set aside by the journal, 1 stored",
    ),
    "saf-taken-back": (
        "UPDATE saf SET state = 'pending' WHERE id = 2",
        "entry 2",
        "1 set aside by the journal, 0 stored",
    ),
    "saf-lost": (
        "UPDATE saf SET state = 'gone' WHERE id = 3",
        "entry 3",
        "of 1 for transaction 8 to alpha",
    ),
    "unbalanced": (
        "UPDATE postings SET minor = 1 WHERE entry_id = '4/capture' AND minor > 0",
        "ledger entry 4/capture",
        "-1249 978",
    ),
    "postings": (
        "UPDATE postings SET minor = minor * 2 WHERE entry_id = '4/capture'",
        "hold 4",
        "it says 1250, the entries 2500",
    ),
    "captured": (
        "UPDATE holds SET captured_minor = 9 WHERE id = '4'",
        "hold 4",
        "it says 9, the entries 1250",
    ),
    "parted": (
        "UPDATE holds SET parted_minor = 50 WHERE id = '4'",
        "hold 4",
        "it says 50, their holds 0",
    ),
    "returning": (
        "UPDATE holds SET returning_minor = 5 WHERE id = '1'",
        "hold 1",
        "it says 5 reserved and 250 returned, the holds of it 0 and 250",
    ),
    "given-back": (
        "UPDATE holds SET returned_minor = 0 WHERE id = '1'",
        "hold 1",
        "it says 0 reserved and 0 returned, the holds of it 0 and 250",
    ),
    "returned": (
        "UPDATE holds SET returned_minor = 750 WHERE id = '4'",
        "account issuer/alpha",
        "the holds say -750 more, in 978",
    ),
    "account": (
        "UPDATE holds SET credit = 'merchant/M2' WHERE id = '4'",
        "account merchant/M2",
        "the holds say -1250 more, in 978",
    ),
    "held": (
        "UPDATE holds SET held_minor = 99 WHERE id = '3'",
        "hold 3",
        "it holds 99 978, its transaction is of 1250 978",
    ),
    "held-open": (
        "UPDATE holds SET state = 'open' WHERE id = '4'",
        "hold 4",
        "it is open",
    ),
    "held-released": (
        "UPDATE holds SET state = 'released' WHERE id = '4'",
        "hold 4",
        "it says 1250, the entries 1250",
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_a_row_edited_by_hand_is_found_and_what_differs_is_told(
    path: Path, name: str
) -> None:
    statement, place, told = EDITS[name]
    _tamper(path, statement)
    verdict = inspect_store(path)
    assert verdict.chain.is_sound
    assert not verdict.is_sound
    found = [each for each in verdict.findings if each.startswith(f"{place}: it does")]
    assert any(told in each for each in found), verdict.findings


def test_a_row_that_only_holds_a_key_needs_no_records(path: Path) -> None:
    """The reversal of an unknown original takes the original's key."""
    tombstone = transaction(
        "98",
        fingerprint="",
        state=TransactionState.CLOSED,
        outcome='{"code":"answer_too_late"}',
        reversed=True,
    )
    unit = UnitOfWork(records=(record(RecordKind.EXCEPTION, "99"),), opens=(tombstone,))
    write(connect_writer(path), [[unit]], checkpoint_pages=1000)
    assert inspect_store(path).is_sound


def test_a_transaction_reversed_while_it_is_sent_is_closed(path: Path) -> None:
    move = Move(
        id="3",
        expect=TransactionState.SENDING,
        state=TransactionState.CLOSED,
        outcome='{"code":"answer_too_late"}',
        mark_reversed=True,
    )
    unit = UnitOfWork(
        records=(record(RecordKind.REVERSAL_OWED, "3", endpoint="alpha"),),
        moves=(move,),
        saf_puts=(saf_entry("3"),),
        ledger=(Release(id="3"),),
    )
    write(connect_writer(path), [[unit]], checkpoint_pages=1000)
    assert inspect_store(path).is_sound


@pytest.mark.parametrize(
    ("size", "is_trusted", "is_sound"),
    [(10, True, True), (10, False, False), (11, True, False)],
    ids=["right", "unsigned", "wrong-root"],
)
def test_a_checkpoint_is_believed_when_it_is_signed_and_its_root_is_met(
    path: Path, *, size: int, is_trusted: bool, is_sound: bool
) -> None:
    tree = MerkleTree()
    with open_reader(path) as reader:
        for link in list(reader.links())[:10]:
            tree.append(link.hash)
    checkpoint = record(
        RecordKind.CHECKPOINT,
        size=size,
        root=tree.root().hex(),
        key="journal/sign",
        signature="00",
    )
    unit = UnitOfWork(records=(checkpoint,))
    write(connect_writer(path), [[unit]], checkpoint_pages=1000)

    def verify(seen: Checkpoint) -> None:
        assert seen.size == size
        if not is_trusted:
            msg = "signature"
            raise VerificationFailed(msg)

    assert inspect_store(path, verify_signature=verify).is_sound is is_sound


def test_a_damaged_file_is_refused(path: Path) -> None:
    """Page 2 is the root of the journal's table."""
    content = bytearray(path.read_bytes())
    content[4096 : 2 * 4096] = b"\xff" * 4096
    path.write_bytes(content)
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        inspect_store(path)
    with (
        pytest.raises(StoreUnavailable, match="cannot be read"),
        open_reader(path) as reader,
    ):
        reader.records()


def test_a_damaged_index_is_found(path: Path) -> None:
    _tamper(
        path,
        "PRAGMA writable_schema = ON",
        "UPDATE sqlite_schema SET sql = replace(sql, '(terminal_id, stan)', "
        "'(stan, terminal_id)') WHERE name = 'transactions_by_stan'",
    )
    verdict = inspect_store(path)
    assert verdict.findings[0].startswith("the file is damaged")
    assert not verdict.is_sound


async def test_a_store_whose_newest_records_are_broken_does_not_open(
    path: Path,
) -> None:
    _tamper(path, "UPDATE journal SET record = record || ' ' WHERE seq = 7")
    with pytest.raises(StoreContradiction, match="record 7"):
        async with open_sqlite_store(path):
            pass


def test_records_of_a_known_shape_are_read_the_same_by_the_inspection() -> None:
    """The rules of the inspection look into the canonical JSON by these names."""
    encoded = encode_record(record(RecordKind.CLOSED, "1"))
    query = "SELECT ? ->> 'kind', ?1 ->> 'transaction_id'"
    row = apsw.Connection(":memory:").execute(query, (encoded.decode(),)).get
    assert row == ("closed", "1")
