"""Runs payment commands against the keys of one engine, one after the other.

A failed verification says nothing but that it failed. A PIN block that is not valid
costs the engine the same calls as one that is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from time import perf_counter
from typing import Any

import msgspec

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.hsm.handlers.table import HANDLERS
from isoswitch.hsm.keyplane import KeyPlane
from isoswitch.hsm.keytable import KeyTable
from isoswitch.hsm.knownanswers import KnownAnswers
from isoswitch.hsm.metrics import OK, CommandMetrics, outcome_of
from isoswitch.hsm.port import (
    ActivateKey,
    AgreeKey,
    AnyCommand,
    CheckHealth,
    DropKey,
    ImportKey,
    ListKeys,
    OfferKey,
    ReadMetrics,
)


class CryptoService:
    """Payment commands over loaded keys; synchronous, for one worker.

    Parameters
    ----------
    keys
        The keys by name.
    known_answers
        What the engine must compute to be healthy.
    plane
        What follows and changes the stored keys; without one they stay as they are.
    """

    def __init__(
        self,
        keys: KeyTable,
        known_answers: KnownAnswers,
        *,
        plane: KeyPlane | None = None,
    ) -> None:
        self._keys = keys
        self._known_answers = known_answers
        self._plane = plane
        self._metrics = CommandMetrics()
        self._handlers: dict[type, Callable[[Any, bytes], bytes]] = {
            **{kind: partial(handler, keys) for kind, handler in HANDLERS.items()},
            ImportKey: self._import_key,
            OfferKey: self._offer_key,
            AgreeKey: self._agree_key,
            ActivateKey: self._activate_key,
            DropKey: self._drop_key,
            CheckHealth: self._check_health,
            ReadMetrics: self._read_metrics,
            ListKeys: self._list_keys,
        }

    @property
    def keys_loaded(self) -> int:
        """How many versions of keys are loaded."""
        return len(self._keys)

    def execute(self, commands: Sequence[AnyCommand]) -> list[bytes]:
        """Run commands in order and give one result for each.

        Raises
        ------
        VerificationFailed
            A MAC, PIN block or sealed datum is not valid; nothing after it was done.
        HsmError
            A key, a command or the engine stands in the way.
        """
        if self._plane is not None:
            self._plane.refresh()
        results: list[bytes] = []
        last = b""
        for command in commands:
            started = perf_counter()
            outcome = OK
            try:
                last = self._handlers[type(command)](command, last)
            except Exception as fault:
                outcome = outcome_of(fault)
                raise
            finally:
                name = type(command).__name__
                self._metrics.count(name, outcome, perf_counter() - started)
            results.append(last)
        return results

    def _import_key(self, command: ImportKey, _last: bytes) -> bytes:
        return self._key_plane().import_key(command).encode()

    def _offer_key(self, command: OfferKey, _last: bytes) -> bytes:
        return self._key_plane().offer_key(command).encode()

    def _agree_key(self, command: AgreeKey, _last: bytes) -> bytes:
        self._key_plane().agree_key(command)
        return b""

    def _activate_key(self, command: ActivateKey, _last: bytes) -> bytes:
        self._key_plane().activate_key(command)
        return b""

    def _drop_key(self, command: DropKey, _last: bytes) -> bytes:
        self._key_plane().drop_key(command)
        return b""

    def _key_plane(self) -> KeyPlane:
        if self._plane is None:
            raise KeyRefused("this service does not change its keys")
        return self._plane

    def _check_health(self, _command: CheckHealth, _last: bytes) -> bytes:
        self._known_answers.check_health()
        return b""

    def _read_metrics(self, _command: ReadMetrics, _last: bytes) -> bytes:
        return self._metrics.render({"isoswitch_hsm_keys": self.keys_loaded}).encode()

    def _list_keys(self, _command: ListKeys, _last: bytes) -> bytes:
        return msgspec.json.encode(
            [
                {
                    "name": record.plan.name,
                    "version": record.plan.version,
                    "state": record.state,
                    "kcv": record.kcv,
                }
                for record in self._keys.records
            ]
        )
