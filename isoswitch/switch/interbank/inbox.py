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
from isoswitch.codecs.iso20022.document import read_document
from isoswitch.codecs.iso20022.messages import build_message, read_message
from isoswitch.journal.records import RecordKind
from isoswitch.switch.interbank.documents import read_news
from isoswitch.switch.interbank.house import House
from isoswitch.switch.interbank.transfers import Transfers
from isoswitch.switch.services import Services

log = structlog.get_logger()


class Inbox:
    """Takes the documents of all houses, one after the other for each."""

    def __init__(self, services: Services, transfers: Transfers) -> None:
        self._services = services
        self._transfers = transfers

    async def receive(self, house: House, payload: bytes) -> None:
        """Take one payload; what is refused is written down, and not believed."""
        name = house.settings.name
        try:
            document = read_document(await house.open(payload))
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
        if isinstance(message, SystemEvent):
            await self._acknowledge(house, message)
        for each in news:
            try:
                await self._transfers.hear(each)
            except StoreUnavailable as error:
                log.error("news_not_recorded", uetr=each.uetr, reason=str(error))
                house.hang_up("what was heard could not be recorded")
                return

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

    async def _acknowledge(self, house: House, event: SystemEvent) -> None:
        message_id = f"A{self._services.numbers.draw().rrn}"
        await self._reply(
            house, EventAcknowledgement(message_id=message_id, code=event.code)
        )

    async def _reply(self, house: House, message: Any) -> None:
        try:
            await house.send(build_message(message, None))
        except LinkDown as error:
            name = house.settings.name
            log.info("reply_not_sent", endpoint=name, reason=str(error))
