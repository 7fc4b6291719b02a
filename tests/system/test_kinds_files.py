"""Requests to change a file: left to the operator, or declined, and never a crash."""

from __future__ import annotations

from dataclasses import replace

import pytest

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.world import World
from tests.system.conftest import Run
from tests.system.test_failures import world_kinds


async def ask(terminal: Terminal, file_name: str) -> ResponseCode:
    """Ask for a change of a file, twice under the same trace number."""
    now = terminal.now().replace(microsecond=0)
    request = terminal.build_from(
        Transaction(
            kind=Kind.FILE_UPDATE,
            function=Function.REQUEST,
            stan=terminal.draw_stan(),
            transmitted_at=now,
            local_at=now.replace(tzinfo=None),
            terminal_id=terminal.profile.terminal_id,
            merchant_id=terminal.profile.merchant_id,
            file_name=file_name,
        )
    )
    codes = []
    for each in (request, terminal.as_repeat(request)):
        answer = await terminal.exchange(each)
        assert answer is not None
        assert answer.message.mti == "0310"
        codes.append(answer.outcome.code)
    assert codes[0] is codes[1]
    return codes[0]


@pytest.mark.parametrize("terminal", ["TERM0001", "TERM0002"])
async def test_a_file_that_is_kept_by_hand_is_left_to_the_operator(
    run: Run, terminal: str
) -> None:
    world = World(
        change=lambda settings: replace(
            settings,
            kinds=replace(settings.kinds, noted_files=frozenset({"HOTCARDS"})),
        )
    )
    await run(world)
    till = world.terminals[terminal]
    assert await ask(till, "HOTCARDS") is ResponseCode.APPROVED
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1
    assert await ask(till, "LIMITS") is ResponseCode.INVALID_TRANSACTION
    assert await world_kinds(world, RecordKind.EXCEPTION) == 1
