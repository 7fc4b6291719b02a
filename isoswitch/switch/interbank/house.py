"""The connection to a clearing house: signed documents, kept up, never waited for.

Nothing is asked and answered on it as on a link of ISO 8583: a document goes out, and
what comes back comes when it comes. What was not written raises ``LinkDown``. Of what
comes in nothing is parsed before its signature is verified.
"""

from __future__ import annotations

import ssl
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
from isoswitch.codecs.iso20022.signature import Signature, signing_input
from isoswitch.hsm.port import Hsm, Sign, VerifySignature
from isoswitch.switch.connection import Connection
from isoswitch.switch.incoming import NUISANCES_MAX, Allowance
from isoswitch.switch.interbank.transport import Framed, Https, Numbers, Transport
from isoswitch.switch.ports import Random
from isoswitch.switch.settings import HouseSettings, TlsFiles
from isoswitch.switch.upkeep import Connect

# Who takes what a house sends, with its signature.
Receive = Callable[["House", bytes, Signature | None], Awaitable[None]]

log = structlog.get_logger()


class House:
    """One clearing house and the connection to it; ``run`` keeps it up."""

    def __init__(
        self,
        settings: HouseSettings,
        *,
        connect: Connect,
        random: Random,
        hsm: Hsm,
    ) -> None:
        self.settings = settings
        # How often it was connected; it changes when something may have been missed.
        self.connected_count = 0
        self._hsm = hsm
        self._allowance = Allowance()
        self._connect = connect
        self._random = random
        self._transport: Transport | None = None
        self._numbers = Numbers()
        self._log = log.bind(endpoint=settings.name)
        self.attempted = trio.Event()

    @property
    def is_up(self) -> bool:
        """Whether documents can be sent."""
        return self._transport is not None and self._transport.is_open

    async def send(self, document: bytes) -> None:
        """Sign and queue one document.

        Raises
        ------
        LinkDown
            Nothing was written and nothing will be.
        """
        transport = self._transport
        if transport is None:
            msg = f"{self.settings.name} is not connected"
            raise LinkDown(msg)
        try:
            signature = await self._sign(document)
        except HsmError as error:
            msg = f"nothing can be signed: {error}"
            raise LinkDown(msg) from error
        transport.send_nowait(document, signature)

    async def verify(self, document: bytes, signature: Signature | None) -> None:
        """Verify that the house has signed a document, where its link is signed.

        Raises
        ------
        SignatureRefused
            It is not signed, or not by the house's key.
        HsmError
            Nothing can be verified now.
        """
        signing = self.settings.signing
        if signing is None:
            if signature is not None:
                raise SignatureRefused("signed, and no key is configured")
            return
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

    def tolerate(self) -> bool:
        """Count a document that was refused; whether it is worth writing down.

        The connection ends where too many come.
        """
        if not self._allowance.spend(NUISANCES_MAX) and self._transport is not None:
            self._transport.close("a flood of documents that are refused")
        return self._allowance.is_told

    def hang_up(self, reason: str) -> None:
        """End the connection; ``run`` makes a new one."""
        if self._transport is not None:
            self._transport.close(reason)

    async def run(self, receive: Receive) -> None:
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

    async def _serve(self, receive: Receive) -> str:
        try:
            with trio.fail_after(self.settings.connect_timeout_s):
                self._transport = transport = await self._open()
        except (OSError, trio.TooSlowError, trio.BrokenResourceError) as error:
            return f"cannot connect: {type(error).__name__}"
        self.connected_count += 1
        self.attempted.set()
        self._log.info("house_up")

        async def handle(document: bytes, signature: Signature | None) -> None:
            await receive(self, document, signature)

        try:
            return await transport.run(handle)
        except Exception:
            # The edge of a connection: a fault of ours ends this one and no other.
            log.exception("house_failed", endpoint=self.settings.name)
            return "a fault of ours"
        finally:
            transport.close("the house's task stopped")
            self._transport = None

    async def _open(self) -> Transport:
        settings = self.settings
        stream = await self._connect_securely()
        if settings.transport == "https":
            try:
                polling = await self._connect_securely()
            except BaseException:
                await trio.aclose_forcefully(stream)
                raise
            return Https(
                stream,
                polling,
                connect=self._connect_securely,
                host=settings.host,
                numbers=self._numbers,
                document_bytes_max=settings.frame_bytes_max,
                timeout_s=settings.frame_timeout_s,
            )
        return Framed(
            Connection(
                stream,
                get_framing(settings.framing),
                frame_bytes_max=settings.frame_bytes_max,
                frame_timeout_s=settings.frame_timeout_s,
                idle_timeout_s=settings.idle_timeout_s,
            )
        )

    async def _connect_securely(self) -> trio.abc.Stream:
        """Connect, over TLS where the link has it: both sides show a certificate."""
        settings = self.settings
        stream = await self._connect(settings)
        if settings.tls is None:
            return stream
        context = make_client_context(settings.tls)
        secure = trio.SSLStream(
            stream,
            context,
            server_hostname=settings.host,
            https_compatible=settings.transport == "https",
        )
        try:
            await secure.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return secure

    async def _sign(self, document: bytes) -> Signature | None:
        signing = self.settings.signing
        if signing is None:
            return None
        command = Sign(key=signing.key, data=signing_input(document))
        (value,) = await self._hsm.run(command)
        return Signature(key_name=signing.name, value=value)


def make_client_context(files: TlsFiles) -> ssl.SSLContext:
    """Make the TLS 1.3 of a client with a certificate.

    Raises
    ------
    OSError
        A file is missing or is not what it should be.
    """
    context = ssl.create_default_context(cafile=files.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(files.certificate, files.key)
    return context
