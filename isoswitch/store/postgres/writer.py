"""The writer of a PostgreSQL store: whole batches, one writer at a time.

    BEGIN, the lock on writing, the head of the chain,      one round trip
        and every row that the batch touches
    the rules of `Tables`, unit by unit                     no round trip
    all changed rows, the chained records, COMMIT           one round trip

Writers of all nodes take turns (docs/decisions/0005): one chain, one order, and the
same answers as SQLite's single writer gives. A frozen writer loses its turn: the server
ends a transaction that idles for ``IDLE_MAX_S``.

What can go wrong has four outcomes. A unit is refused by the rules: its waiter hears
why. PostgreSQL does not take a value: the batch is halved until the unit stands alone.
The server is gone: everybody hears `StoreUnavailable` until it is back. It goes while
it commits, or is silent for ``PATIENCE_S``, as one that has lost its standby: then
nobody knows, so nobody is told anything before the writer, again under the lock, has
read from whoever is the primary then which batch it was last given, and a commit of its
own after it has waited for the standby, where one is demanded.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty
from random import SystemRandom
from typing import Any

import psycopg

from isoswitch.codecs.canonical.errors import IsoswitchError, StoreUnavailable
from isoswitch.journal.chain import GENESIS, chain_hash
from isoswitch.store.batching import BatchWriter, Waiter
from isoswitch.store.place import DatabaseUrl
from isoswitch.store.port import Committed
from isoswitch.store.postgres.connection import (
    PATIENCE_S,
    SETTLE,
    Answers,
    Database,
    connect,
    reason_of,
    translated,
)
from isoswitch.store.postgres.page import (
    Page,
    Question,
    Statement,
    changes_of,
    forgets_of,
    to_json,
)
from isoswitch.store.postgres.page import questions as questions_of
from isoswitch.store.postgres.schema import LOCK
from isoswitch.store.reader import StoreReader

IDLE_MAX_S = 2
RETRY_S = 0.25

_SETTINGS = f"""
    SET synchronous_commit = on;
    -- Who commits before us may wait for a standby that does not come back.
    SET lock_timeout = '{PATIENCE_S}s';
    SET idle_in_transaction_session_timeout = '{IDLE_MAX_S}s';
    -- A plan made while the tables were small must not read them whole later.
    SET enable_seqscan = off;
    SET enable_hashjoin = off;
    SET enable_mergejoin = off;
""".encode()
# Not the database's default: what follows the lock must see what came before it.
_BEGIN = b"BEGIN ISOLATION LEVEL READ COMMITTED"
_HEAD = b"SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1"
_RECORDS = b"""
    INSERT INTO journal (seq, transaction_id, record, hash)
    SELECT seq, transaction_id, record::json, hash
    FROM jsonb_to_recordset(%s::jsonb)
        AS r(seq bigint, transaction_id text, record text, hash bytea)
"""
RECORD_COLUMNS = ("seq", "transaction_id", "record", "hash")
_MARK = b"""
    INSERT INTO writers (id, batch) VALUES (%s, %s)
    ON CONFLICT (id) DO UPDATE SET batch = excluded.batch
"""

# PostgreSQL does not take one of the values, or JSON does not.
_UNTAKEN = (psycopg.DataError, psycopg.IntegrityError, TypeError)


class PostgresWriter(BatchWriter):
    """Commits batches over a connection of its own, made anew when it was lost.

    Parameters
    ----------
    on_move
        Called in the writer's thread when it is, perhaps to another server.
    """

    def __init__(
        self,
        url: DatabaseUrl,
        *,
        deliver: Callable[[list[Waiter]], None],
        on_fatal: Callable[[BaseException], None],
        on_move: Callable[[], None],
    ) -> None:
        super().__init__(deliver=deliver, on_fatal=on_fatal)
        self._url = url
        self._on_move = on_move
        self._id = f"{SystemRandom().getrandbits(128):032x}"
        self._batch = 0
        self._is_committing = False
        self._warning = ""
        self._closing = threading.Event()
        self._connection: Database = self._connect()

    def stop(self) -> None:
        """Let the thread end after what was handed over so far."""
        self._closing.set()
        super().stop()

    def after_delivery(self) -> None:
        """When the server is gone, refuse what comes until it is back."""
        while self.away and not self._closing.wait(RETRY_S):
            self._refuse_waiting()
            try:
                self._replace_connection(self._connect())
                self.away = ""
            except StoreUnavailable as exc:
                self.away = str(exc)

    def close(self) -> None:
        """Forget what was committed last, and let the connection go."""
        # A row that stays, as after a kill, is of no use and does no harm.
        with suppress(psycopg.Error):
            self._connection.execute(b"DELETE FROM writers WHERE id = %s", [self._id])
        self._connection.close()

    def commit(self, batch: list[Waiter]) -> None:
        """Make a batch durable and set the result of every waiter."""
        try:
            self._commit(batch)
        except _UNTAKEN as exc:
            self._start_over()
            if len(batch) == 1:
                # The database's own words may quote a row.
                name = getattr(getattr(exc, "diag", None), "constraint_name", None)
                msg = f"the store does not take this: {type(exc).__name__} {name or ''}"
                batch[0].result = ValueError(msg.strip())
                return
            middle = len(batch) // 2
            self.commit(batch[:middle])
            self.commit(batch[middle:])
        except (psycopg.Error, StoreUnavailable) as exc:
            self._lose(batch, exc)

    def _commit(self, batch: list[Waiter]) -> None:
        if self.away:
            raise StoreUnavailable(self.away)
        if self._connection.closed:
            self._replace_connection(self._connect())
        self._batch += 1
        # One pipeline for all of it: leaving one sends a message after the server has
        # begun to wait, which would stop its watch over idle transactions.
        with self._connection.pipeline() as self._pipeline:
            self._commit_pages(list(_pages(batch)))
        # Leaving the pipeline waits once more for a server that has committed already.
        self._is_committing = False

    def _commit_pages(self, pages: Sequence[list[Waiter]]) -> None:
        begin: tuple[Statement, ...] = ((_BEGIN, ()), (LOCK, ()), (_HEAD, ()))
        end = ((_MARK, (self._id, self._batch)), (b"COMMIT", ()))
        head: tuple[int, bytes] | None = None
        for waiters in pages:
            page, answers = self._read(waiters, () if head else begin)
            if head is None:
                head = answers[2].get or (0, GENESIS)
            head, statements = _apply(waiters, page, head)
            if waiters is pages[-1]:
                self._is_committing = True
                statements += end
            self._run_all(statements)
        self._verify_no_warning()

    def _read(
        self, waiters: Sequence[Waiter], before: tuple[Statement, ...]
    ) -> tuple[Page, list[Answers]]:
        """Read what some units touch, in one round trip for all but rare units."""
        asked: list[Question] = list(questions_of([each.unit for each in waiters]))
        answers = self._run_all((*before, *(each.statement for each in asked)))
        page = Page()
        for question, rows in zip(asked, answers[len(before) :], strict=True):
            question.absorb(page, rows)
        first = waiters[0].unit
        if first.stand_in is not None:
            page.used = StoreReader(self).stand_in_usage(first.stand_in)
        if first.day is not None:
            page.open_ids = [
                each.id
                for each in StoreReader(self).open_transactions()
                if each.business_date == first.day.date
            ]
        page.remember()
        return page, answers

    def execute(self, sql: str, values: Sequence[Any] = (), /) -> Answers:
        """Answer a `StoreReader` inside the transaction."""
        return self._run_all([(translated(sql), values)])[0]

    def _run_all(self, statements: Sequence[Statement]) -> list[Answers]:
        """Send statements together, and give the rows of each."""
        cursors = [self._connection.execute(*each) for each in statements]
        self._pipeline.sync()
        return [
            Answers(cursor.fetchall() if cursor.description else [])
            for cursor in cursors
        ]

    def _lose(self, batch: list[Waiter], exc: Exception) -> None:
        """Find out what became of a batch whose transaction did not end well."""
        reason = self.away or f"the store cannot commit: {reason_of(exc)}"
        was_committing = self._is_committing
        self._start_over()
        is_stored = False
        if not _is_refusal(exc):
            is_stored = was_committing and self._find_out(reason)
            self.away = self.away or ("" if was_committing else reason)
        if not is_stored:
            for waiter in batch:
                waiter.result = StoreUnavailable(reason)

    def _find_out(self, reason: str) -> bool:
        """Ask, until somebody answers, whether the last batch was committed.

        The lock makes sure that nobody still works on it. That a standby has it, where
        one must, the end of this transaction makes sure, as it writes.
        """
        self.away = reason
        while True:
            self._refuse_waiting()
            try:
                self._replace_connection(self._connect())
                with self._connection.transaction():
                    self._connection.execute(LOCK)
                    found = self._connection.execute(
                        b"SELECT batch FROM writers WHERE id = %s", [self._id]
                    ).fetchone()
                    self._connection.execute(SETTLE)
                self._verify_no_warning()
            except (psycopg.Error, StoreUnavailable) as exc:
                self.away = f"the store cannot commit: {reason_of(exc)}"
                if self._closing.wait(RETRY_S):
                    # Nobody will answer anything; the next start reads what is there.
                    return False
                continue
            self.away = ""
            return found is not None and found[0] == self._batch

    def _refuse_waiting(self) -> None:
        """Tell those who came meanwhile that nothing of theirs was stored."""
        refused: list[Waiter] = []
        while True:
            try:
                waiter = self._queue.get_nowait()
            except Empty:
                break
            if waiter is None:
                # The word to stop is for the thread itself.
                self._queue.put(None)
                break
            waiter.result = StoreUnavailable(self.away)
            refused.append(waiter)
        if refused:
            self._deliver(refused)

    def _start_over(self) -> None:
        """Have the server forget what was begun.

        What follows a failed statement in a pipeline was not even prepared, though the
        connection believes so: it is of no more use.
        """
        self._is_committing = False
        self._connection.close()

    def _replace_connection(self, connection: Database) -> None:
        self._connection.close()
        self._connection, self._warning = connection, ""
        self._on_move()

    def _note(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            self._warning = diagnostic.message_primary or "a warning"

    def _verify_no_warning(self) -> None:
        """Take no commit for durable that somebody has kept from waiting.

        A canceled one ends well, with a warning that perhaps no standby has it.
        """
        if self._warning:
            raise StoreUnavailable(self._warning)

    def _connect(self) -> Database:
        connection = connect(self._url)
        connection.silence_s_max = PATIENCE_S
        connection.add_notice_handler(self._note)
        try:
            connection.execute(_SETTINGS, prepare=False)
            row = connection.execute(b"SHOW fsync").fetchone()
        except psycopg.Error as exc:
            connection.close()
            raise StoreUnavailable(reason_of(exc)) from None
        if row != ("on",):
            connection.close()
            msg = f"{self._url} is not durable: set fsync = on"
            raise StoreUnavailable(msg)
        return connection


def _is_refusal(exc: Exception) -> bool:
    """Whether the server says that it did not do it.

    When it ends a connection it may have committed before, and one that is cut says
    nothing.
    """
    return isinstance(exc, psycopg.Error) and exc.diag.severity_nonlocalized == "ERROR"


def _pages(batch: Sequence[Waiter]) -> Iterator[list[Waiter]]:
    """Part a batch before each unit that needs to know what all the tables say."""
    page: list[Waiter] = []
    for waiter in batch:
        if page and (waiter.unit.stand_in is not None or waiter.unit.day is not None):
            yield page
            page = []
        page.append(waiter)
    yield page


def _apply(
    waiters: Sequence[Waiter], page: Page, head: tuple[int, bytes]
) -> tuple[tuple[int, bytes], tuple[Statement, ...]]:
    """Apply unit after unit to a page; give the new head and what is to be written."""
    seq, digest = head
    records: list[tuple[int, str, str, bytes]] = []
    forgets: list[Statement] = []
    for waiter in waiters:
        try:
            entries = page.change(waiter.unit)
        except (IsoswitchError, ValueError) as exc:
            waiter.result = exc
            continue
        for record, encoded in zip(waiter.unit.records, waiter.encoded, strict=True):
            seq += 1
            digest = chain_hash(digest, seq, encoded)
            records.append((seq, record.transaction_id, encoded.decode(), digest))
        forgets += forgets_of(waiter.unit)
        waiter.result = Committed(last_seq=seq, saf_entries=entries)
    written = [*changes_of(page), *forgets]
    if records:
        written.append((_RECORDS, (to_json(RECORD_COLUMNS, records),)))
    return (seq, digest), tuple(written)
