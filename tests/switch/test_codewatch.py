"""Which terminals are to be told of which codes, and over which way."""

from __future__ import annotations

from dataclasses import replace

import trio
import trio.testing

from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.store.port import Committed, UnitOfWork
from isoswitch.store.rows import CodeState, PaymentCode, RowMove
from isoswitch.switch.codewatch import CodeWatch
from tests.switch.test_originals import VOID, job_of

CODE = PaymentCode(
    id="1-7",
    merchant_id="M1",
    terminal_id="T1",
    text="code",
    amount_minor=1250,
    currency="978",
    reference="",
    created_at="2026-06-01T12:00:00Z",
    expires_at=1000.0,
)
COMMITTED = Committed(last_seq=1)


def paid(code: PaymentCode) -> UnitOfWork:
    """Give the unit that makes a code a paid one."""
    after = replace(code, state=CodeState.PAID)
    return UnitOfWork(records=(), rows=(RowMove(expect=code, row=after),))


async def test_the_oldest_is_forgotten_when_there_are_too_many() -> None:
    watch = CodeWatch(shown_max=2)
    for number in range(3):
        watch.show(job_of(VOID), replace(CODE, id=f"1-{number}"))
    assert list(watch.shown) == ["1-1", "1-2"]
    watch.forget("1-1")
    watch.forget("1-2")
    watch.forget("1-2")
    assert not watch.shown


async def test_a_change_is_known_even_if_nobody_waited_for_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    watch = CodeWatch()
    watch.show(job_of(VOID), CODE)
    watch.follow(paid(replace(CODE, id="1-8")), COMMITTED)
    watch.follow(paid(CODE), COMMITTED)
    began_at = trio.current_time()
    assert await watch.wait_due(60) == {"1-7"}
    assert trio.current_time() == began_at
    watch.look_again("1-7")
    assert await watch.wait_due(60) == {"1-7"}
    assert trio.current_time() == began_at + 60


async def test_a_question_is_that_of_its_own_terminal(
    autojump_clock: trio.testing.MockClock,
) -> None:
    watch = CodeWatch()
    watch.show(job_of(VOID), CODE)
    shown = watch.shown["1-7"]
    with watch.asking("1-7", "T2") as other:
        assert not watch.is_asked(shown)
        with watch.asking("1-7", "T1") as own:
            assert watch.is_asked(shown)
            changed = own.renew()
            watch.follow(paid(CODE), COMMITTED)
            assert changed.is_set()
            assert other.changed.is_set()
        assert not watch.is_asked(shown)


async def test_another_dialect_is_no_way_to_a_terminal() -> None:
    watch = CodeWatch()
    job = job_of(VOID)
    watch.show(job, CODE)
    other = job_of(VOID)
    other.dialect = get_dialect("iso87-bcd")
    watch.hear(other)
    assert len(watch.shown["1-7"].sends) == 1
    watch.hear(job)
    assert len(watch.shown["1-7"].sends) == 2
