"""The connection to a clearing house: signed documents, kept up, never waited for.

Nothing is asked and answered on it as on a link of ISO 8583: a document goes out, and
what comes back comes when it comes. What was not written raises ``LinkDown``. Of what
comes in nothing is parsed before its signature is verified.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import structlog
import trio

from isoswitch.codecs.canonical.errors import (
    HsmError,
    LinkDown,
    SignatureRefused,
    VerificationFailed,
)
from isoswitch.codecs.framing import get_framing
from isoswitch.codecs.iso20022.signature import (
    Signature,
    join_payload,
    signing_input,
    split_payload,
)
from isoswitch.hsm.port import Hsm, Sign, VerifySignature
from isoswitch.switch.connection import Connection
from isoswitch.switch.incoming import NUISANCES_MAX, Allowance
from isoswitch.switch.ports import Random
from isoswitch.switch.settings import HouseSettings
from isoswitch.switch.upkeep import Connect

log = structlog.get_logger()


class House:
    """One clearing house and the connection to it; ``run`` keeps it up."""

    def __init__(
        self, settings: HouseSettings, *, connect: Connect, random: Random, hsm: Hsm
    ) -> None:
        self.settings = settings
        self._hsm = hsm
        self._allowance = Allowance()
        self._connect = connect
        self._random = random
        self._connection: Connection | None = None
        self._log = log.bind(endpoint=settings.name)
        self.attempted = trio.Event()

    @property
    def is_up(self) -> bool:
        """Whether documents can be sent."""
        return self._connection is not None and self._connection.is_open

    async def send(self, document: bytes) -> None:
        """Sign and queue one document.

        Raises
        ------
        LinkDown
            Nothing was written and nothing will be.
        """
        connection = self._connection
        if connection is None:
            msg = f"{self.settings.name} is not connected"
            raise LinkDown(msg)
        try:
            payload = await self._seal(document)
        except HsmError as error:
            msg = f"nothing can be signed: {error}"
            raise LinkDown(msg) from error
        connection.send_nowait(payload)

    async def open(self, payload: bytes) -> bytes:
        """Give the document of a payload whose signature was verified.

        Raises
        ------
        SignatureRefused
            It is not signed, or not by the house's key.
        DecodeError
            What begins like a signature is none.
        HsmError
            Nothing can be verified now.
        """
        signing = self.settings.signing
        if signing is None:
            return payload
        document, signature = split_payload(payload)
        if signature is None:
            raise SignatureRefused("not signed")
        if signature.key_name != signing.their_name:
            raise SignatureRefused("signed under another name than the house's")
        command = VerifySignature(
            public=signing.their_public,
            data=signing_input(document),
            signature=signature.value,
        )
        try:
            await self._hsm.run(command)
        except VerificationFailed:
            raise SignatureRefused("the signature is not of this document") from None
        return document

    def tolerate(self) -> bool:
        """Count a document that was refused; whether it is worth writing down.

        The connection ends where too many come.
        """
        if not self._allowance.spend(NUISANCES_MAX) and self._connection is not None:
            self._connection.close("a flood of documents that are refused")
        return self._allowance.is_told

    def hang_up(self, reason: str) -> None:
        """End the connection; ``run`` makes a new one."""
        if self._connection is not None:
            self._connection.close(reason)

    async def run(self, receive: Callable[[House, bytes], Awaitable[None]]) -> None:
        """Stay connected and hand over documents until cancelled."""
        pause_s = self.settings.reconnect_min_s
        while True:
            began_at = trio.current_time()
            reason = await self._serve(receive)
            self.attempted.set()
            self._log.info("house_down", reason=reason)
            if trio.current_time() - began_at > self.settings.reconnect_max_s:
                pause_s = self.settings.reconnect_min_s
            await trio.sleep(pause_s * (0.5 + self._random.random()))
            pause_s = min(pause_s * 2, self.settings.reconnect_max_s)

    async def _serve(self, receive: Callable[[House, bytes], Awaitable[None]]) -> str:
        settings = self.settings
        try:
            with trio.fail_after(settings.connect_timeout_s):
                stream = await self._connect(settings)
        except (OSError, trio.TooSlowError) as error:
            return f"cannot connect: {type(error).__name__}"
        self._connection = Connection(
            stream,
            get_framing(settings.framing),
            frame_bytes_max=settings.frame_bytes_max,
            frame_timeout_s=settings.frame_timeout_s,
            idle_timeout_s=settings.idle_timeout_s,
        )
        self.attempted.set()
        self._log.info("house_up")

        async def handle(document: bytes) -> None:
            await receive(self, document)

        try:
            return await self._connection.run(handle)
        finally:
            self._connection.close("the house's task stopped")
            self._connection = None

    async def _seal(self, document: bytes) -> bytes:
        signing = self.settings.signing
        if signing is None:
            return document
        command = Sign(key=signing.key, data=signing_input(document))
        (value,) = await self._hsm.run(command)
        return join_payload(document, Signature(key_name=signing.name, value=value))
