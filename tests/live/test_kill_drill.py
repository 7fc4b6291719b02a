"""Every part of a network is killed again and again while customers do all they can.

Crypto process, issuers and switch are processes; only the terminals live in the test.
At random moments one of them gets SIGKILL, nine times out of ten the switch. After
the last start everything must come to rest, and then terminals, store, journal, ledger
and issuers' books are compared transaction by transaction, and all files are searched
for secrets. ``make drill KILLS=200`` kills more often than a run of all tests does.
"""

from __future__ import annotations

import os
import statistics
from pathlib import Path

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind
from tests.live.conftest import Tell
from tests.live.drill import crowd, drilled
from tests.live.network import isoswitch
from tests.live.secrets import all_secrets, leaks_in_files

pytestmark = pytest.mark.live

KILLS = int(os.environ.get("ISOSWITCH_KILLS", "10"))
# Every so manieth kill hits one of the others.
OTHERS_EVERY = 10
OTHERS = ("hsmd", "issuers")
UP_S_MAX = 2.0
KEYRING = "test-keys.json"
# What a drill that is long enough has approved.
KINDS = frozenset(
    {
        Kind.PURCHASE,
        Kind.CASH_WITHDRAWAL,
        Kind.PURCHASE_WITH_CASHBACK,
        Kind.PREAUTHORISATION,
        Kind.COMPLETION,
        Kind.REFUND,
        Kind.VOID,
        Kind.REVERSAL,
        Kind.BALANCE_INQUIRY,
    }
)
ALL_KINDS_KILLS = 50
# From the kill to ready again, on a machine that does nothing else.
RECOVERY_S = 2.0


async def test_no_kill_of_any_part_loses_or_doubles_money(
    tmp_path: Path, tell: Tell
) -> None:
    async with drilled(tmp_path) as drill:
        for number in range(1, KILLS + 1):
            await trio.sleep(drill.random.uniform(0.0, UP_S_MAX))
            turn, rest = divmod(number, OTHERS_EVERY)
            await drill.kill("switch" if rest else OTHERS[turn % len(OTHERS)])
    verdict = drill.compare()
    tell(drill.describe(verdict))
    assert verdict.is_settled
    assert drill.accusations == []
    assert drill.contradictions() == []
    assert list(drill.log_lines("dispatch_failed")) == []
    done = isoswitch("verify", "journal", folder=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert leaks_in_files(tmp_path, all_secrets(drill.keyring), but=KEYRING) == []
    assert KILLS < ALL_KINDS_KILLS or set(drill.kinds()) >= KINDS
    assert statistics.median(drill.recoveries_s) < RECOVERY_S * crowd()
