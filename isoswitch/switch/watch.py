"""Watches what the switch stands on: the crypto process, the store, the clock.

Once a second the clock is looked at. The crypto process is asked now and then, and once
a second while it is away. What began or ended is written down: as long as the store
cannot, that is the question whether it can again.
"""

from __future__ import annotations

from typing import NoReturn

import trio

from isoswitch.codecs.canonical.errors import HsmError, HsmUnavailable, StoreUnavailable
from isoswitch.hsm.port import AnyCommand, HashData, Hsm
from isoswitch.journal.records import Record, RecordKind
from isoswitch.store.port import UnitOfWork
from isoswitch.switch.counts import Counts
from isoswitch.switch.health import Health, Part
from isoswitch.switch.services import Services

TICK_S = 1.0
CRYPTO_EVERY_TICKS = 5
PROBE = b"health"


class WatchedHsm:
    """The crypto service, and what becomes known of its health by using it."""

    def __init__(self, hsm: Hsm, health: Health, counts: Counts) -> None:
        self._hsm = hsm
        self._health = health
        self._counts = counts

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        """Run commands in order in one round trip; see ``Hsm.run``."""
        try:
            return await self._hsm.run(*commands)
        except HsmUnavailable as error:
            self._counts.crypto_failures += 1
            self._health.report(Part.CRYPTO, str(error))
            raise
        except HsmError:
            self._counts.crypto_failures += 1
            raise


async def watch_forever(services: Services) -> NoReturn:
    """Look after clock, crypto process and store until cancelled."""
    health = services.health
    ticks = 0
    while True:
        health.trusts_clock()
        if health.has(Part.CRYPTO) or ticks % CRYPTO_EVERY_TICKS == 0:
            await _probe_crypto(services)
        if health.unwritten:
            await _write_changes(services)
        ticks += 1
        await trio.sleep(TICK_S)


async def _probe_crypto(services: Services) -> None:
    command = HashData(key=services.settings.pan_hash_key, data=PROBE)
    try:
        await services.hsm.run(command)
    except HsmError as error:
        services.health.report(Part.CRYPTO, str(error))
        return
    services.health.clear(Part.CRYPTO)


async def _write_changes(services: Services) -> None:
    """Write down what began or ended; that it can be is what ends a store's outage."""
    health = services.health
    changes = tuple(health.unwritten)
    records = tuple(
        Record(
            kind=RecordKind.CONDITION,
            transaction_id="",
            at=change.at,
            body=dict(change.body),
        )
        for change in changes
    )
    try:
        await services.store.commit(UnitOfWork(records=records))
    except StoreUnavailable as error:
        health.report(Part.STORE, str(error))
        return
    while health.unwritten and health.unwritten[0] in changes:
        health.unwritten.popleft()
    health.clear(Part.STORE)
