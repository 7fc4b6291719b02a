"""What a clearing house sends: verified, read, and handed to whoever it is for."""

from __future__ import annotations

from typing import Any

import structlog

from isoswitch.codecs.canonical.errors import (
    DecodeError,
    HsmError,
    LinkDown,
    SignatureRefused,
    StoreUnavailable,
)
from isoswitch.codecs.iso20022.administration import EventAcknowledgement, SystemEvent
from isoswitch.codecs.iso20022.document import Part, read_document
from isoswitch.codecs.iso20022.exceptions import CancellationRequest
from isoswitch.codecs.iso20022.messages import build_message, read_message
from isoswitch.codecs.iso20022.reports import IntradayReport, Notification, Statement
from isoswitch.codecs.iso20022.signature import Signature
from isoswitch.codecs.iso20022.transfers import (
    CustomerTransfer,
    SettlementRequest,
    StatusRequest,
)
from isoswitch.journal.records import RecordKind
from isoswitch.switch.interbank.documents import News, read_news
from isoswitch.switch.interbank.house import House
from isoswitch.switch.interbank.receipts import Receipts
from isoswitch.switch.interbank.reports import Reports
from isoswitch.switch.interbank.transfers import Transfers
from isoswitch.switch.services import Services

log = structlog.get_logger()


class Inbox:
    """Takes the documents of all houses, one after the other for each."""

    def __init__(
        self,
        services: Services,
        *,
        transfers: Transfers,
        receipts: Receipts,
        reports: Reports,
    ) -> None:
        self._services = services
        self._transfers = transfers
        self._receipts = receipts
        self._reports = reports

    async def receive(
        self, house: House, data: bytes, signature: Signature | None
    ) -> None:
        """Take one document; what is refused is written down, and not believed."""
        name = house.settings.name
        try:
            await house.verify(data, signature)
            document = read_document(data)
            message = read_message(document.body) if document.body else None
            news = list(read_news(message))
        except (SignatureRefused, DecodeError) as refusal:
            await self._refuse(house, refusal)
            return
        except HsmError as error:
            log.error("document_not_verified", endpoint=name, reason=str(error))
            # What a house tells unasked it tells again on a new connection.
            house.hang_up("what was heard could not be verified")
            return
        try:
            await self._take(house, document.body, message)
            for each in news:
                await self._hear(house, each)
        except StoreUnavailable as error:
            log.error("document_not_recorded", endpoint=name, reason=str(error))
            house.hang_up("what was heard could not be recorded")

    async def _take(self, house: House, part: Part | None, message: Any) -> None:
        """Take what is no news of a transfer, and answer what asks for something."""
        match message:
            case CustomerTransfer() if part is not None:
                name = part.message_id
                await self._send(house, await self._receipts.take(house, message, name))
            case StatusRequest():
                await self._send(house, await self._receipts.tell(house, message))
            case CancellationRequest():
                for document in await self._receipts.recall(house, message):
                    await self._send(house, document)
            case IntradayReport() | Statement() | Notification():
                await self._reports.take(house, message)
            case SettlementRequest():
                await self._reports.settle(house, message)
            case SystemEvent():
                await self._send(house, self._acknowledge(message))

    async def _hear(self, house: House, news: News) -> None:
        """Hand news to who knows the transfer: we sent it, or somebody sent it to us.

        Where both are true the house names the message that we sent, or that we got.
        """
        name = house.settings.name
        is_received = await self._receipts.is_named(house, news)
        sent = await self._transfers.find(news, house=name)
        is_sent = sent is not None and (
            not is_received or sent.message_id == news.original_message_id
        )
        if is_sent:
            await self._transfers.hear(news, house=name)
        if is_received or not is_sent:
            await self._receipts.hear(house, news)

    async def _refuse(
        self, house: House, refusal: SignatureRefused | DecodeError
    ) -> None:
        if not house.tolerate():
            return
        body = {
            "endpoint": house.settings.name,
            "reason": f"a document was refused: {refusal}",
        }
        log.warning("document_refused", **body)
        try:
            await self._services.recorder.note(RecordKind.EXCEPTION, "", body)
        except StoreUnavailable as error:
            log.error("refusal_not_recorded", reason=str(error))

    def _acknowledge(self, event: SystemEvent) -> bytes:
        message_id = f"A{self._services.numbers.draw().rrn}"
        reply = EventAcknowledgement(message_id=message_id, code=event.code)
        return build_message(reply, None)

    async def _send(self, house: House, document: bytes) -> None:
        try:
            await house.send(document)
        except LinkDown as error:
            name = house.settings.name
            log.info("reply_not_sent", endpoint=name, reason=str(error))
