"""Keys, settings and a blocking client for tests of the payment HSM backend."""

from __future__ import annotations

import queue
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from threading import Thread

import trio

from isoswitch.hsm.keys import Usage
from isoswitch.hsm.keytable import KeyTable, form_record
from isoswitch.hsm.knownanswers import KnownAnswers
from isoswitch.hsm.local import LocalHsm
from isoswitch.hsm.payshield.client import PayshieldHsm, open_payshield
from isoswitch.hsm.payshield.keys import UnitKey
from isoswitch.hsm.payshield.layouts import KeyKind
from isoswitch.hsm.payshield.settings import PayshieldSettings
from isoswitch.hsm.port import AnyCommand
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from isoswitch.simulators.payshield import LMK_CHECK_VALUE, PayshieldUnit
from isoswitch.simulators.payshield_keys import wrap_test_key
from tests.hsm.softhsm import PLANS, VALUES

KINDS = {
    "t/tpk": KeyKind.TPK,
    "t/tak": KeyKind.TAK,
    "n/zpk": KeyKind.ZPK,
    "n/zak": KeyKind.ZAK,
    "s/zpk": KeyKind.ZPK,
    "s/zak": KeyKind.ZAK,
    "x/alg1": KeyKind.ZAK,
    "x/verify-only": KeyKind.ZAK,
    "x/generate-only": KeyKind.ZAK,
}
ELSEWHERE = ("store/hash", "store/seal")


def unit_keys() -> list[UnitKey]:
    """Give the keys of ``PLANS`` that a unit holds."""
    return [
        wrap_test_key(plan, KINDS[plan.name], VALUES[plan.name])
        for plan in PLANS
        if plan.name in KINDS
    ]


def local_hsm() -> LocalHsm:
    """Give a service for the commands that units do not run."""
    vault = Vault.of_value(SoftwareEngine(), VALUES["store/hash"])
    records = [
        form_record(vault, plan, VALUES[plan.name], created="")
        for plan in PLANS
        if plan.usage in {Usage.HMAC, Usage.DATA}
    ]
    return LocalHsm(CryptoService(KeyTable(vault, records), KnownAnswers(vault.engine)))


@asynccontextmanager
async def simulated_hsm(keys: Sequence[UnitKey]) -> AsyncIterator[PayshieldHsm]:
    """Connect to a simulated unit on the loopback interface."""
    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(PayshieldUnit().serve)
        port = listener.socket.getsockname()[1]
        settings = PayshieldSettings(
            units=(("127.0.0.1", port),),
            connections_per_unit=2,
            deadline_s=10.0,
            lmk_check_value=LMK_CHECK_VALUE[:6],
        )
        async with open_payshield(settings, keys, data=local_hsm()) as hsm:
            yield hsm
        nursery.cancel_scope.cancel()


class BlockingHsm:
    """What the contract's tests call: a client that lives in another thread."""

    def __init__(self, hsm: PayshieldHsm, token: trio.lowlevel.TrioToken) -> None:
        self._hsm = hsm
        self._token = token

    def execute(self, commands: Sequence[AnyCommand]) -> list[bytes]:
        """Run commands in order; see ``Hsm.run``."""
        return trio.from_thread.run(self._hsm.run, *commands, trio_token=self._token)


@contextmanager
def blocking_hsm(keys: Sequence[UnitKey]) -> Iterator[BlockingHsm]:
    """Connect to a simulated unit from a thread, for tests that are not async."""
    started: queue.SimpleQueue[tuple[BlockingHsm, trio.Event]] = queue.SimpleQueue()

    async def main() -> None:
        async with simulated_hsm(keys) as hsm:
            stop = trio.Event()
            started.put((BlockingHsm(hsm, trio.lowlevel.current_trio_token()), stop))
            await stop.wait()

    thread = Thread(target=trio.run, args=(main,))
    thread.start()
    hsm, stop = started.get(timeout=10)
    try:
        yield hsm
    finally:
        hsm._token.run_sync_soon(stop.set)
        thread.join()
