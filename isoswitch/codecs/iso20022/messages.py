"""Every message that is understood: its names, its model, its table.

Part -> read_message -> model         model -> build_message -> bytes
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from lxml import etree

from isoswitch.codecs.canonical.errors import DocumentError, EncodeError
from isoswitch.codecs.iso20022 import (
    administration,
    exceptions,
    initiation,
    reports,
    transfers,
)
from isoswitch.codecs.iso20022.document import NAMESPACE, Element, Part, path_of
from isoswitch.codecs.iso20022.mapping import Shape


@dataclass(frozen=True, slots=True)
class MessageType:
    """A message: the version that is written, the element in its Document, its table.

    Other versions of the family are read by the same table as far as they agree.
    """

    message_id: str
    root: str
    shape: Shape[Any]


HEADER: Final = MessageType("head.001.001.02", "AppHdr", administration.BUSINESS_HEADER)
MESSAGE_TYPES: Final = (
    MessageType("pacs.002.001.10", "FIToFIPmtStsRpt", transfers.STATUS_REPORT),
    MessageType("pacs.004.001.10", "PmtRtr", transfers.PAYMENT_RETURN),
    MessageType("pacs.007.001.09", "FIToFIPmtRvsl", transfers.PAYMENT_REVERSAL),
    MessageType("pacs.008.001.08", "FIToFICstmrCdtTrf", transfers.CUSTOMER_TRANSFER),
    MessageType("pacs.009.001.08", "FICdtTrf", transfers.INSTITUTION_TRANSFER),
    MessageType("pacs.028.001.03", "FIToFIPmtStsReq", transfers.STATUS_REQUEST),
    MessageType("pacs.029.001.02", "MulSttlmReq", transfers.SETTLEMENT_REQUEST),
    MessageType("camt.029.001.09", "RsltnOfInvstgtn", exceptions.RESOLUTION),
    MessageType("camt.052.001.08", "BkToCstmrAcctRpt", reports.INTRADAY_REPORT),
    MessageType("camt.053.001.08", "BkToCstmrStmt", reports.STATEMENT),
    MessageType("camt.054.001.08", "BkToCstmrDbtCdtNtfctn", reports.NOTIFICATION),
    MessageType("camt.056.001.08", "FIToFIPmtCxlReq", exceptions.CANCELLATION_REQUEST),
    MessageType("camt.060.001.05", "AcctRptgReq", reports.REPORT_REQUEST),
    MessageType("pain.001.001.09", "CstmrCdtTrfInitn", initiation.INITIATION),
    MessageType("pain.002.001.10", "CstmrPmtStsRpt", initiation.INITIATION_STATUS),
    MessageType("admi.002.001.01", "admi.002.001.01", administration.REJECTION),
    MessageType("admi.004.001.02", "SysEvtNtfctn", administration.SYSTEM_EVENT),
    MessageType("admi.007.001.01", "RctAck", administration.RECEIPT_ACKNOWLEDGEMENT),
    MessageType("admi.011.001.01", "SysEvtAck", administration.EVENT_ACKNOWLEDGEMENT),
)
BY_FAMILY: Final[Mapping[str, MessageType]] = {
    each.message_id[:8]: each for each in (HEADER, *MESSAGE_TYPES)
}
_BY_MODEL: Final = {each.shape.model: each for each in (HEADER, *MESSAGE_TYPES)}


def read_message(part: Part) -> Any:
    """Read a part into the model of its message, whatever its version.

    Raises
    ------
    DocumentError
        A message that is not understood, or one without what its model needs.
    """
    message_type = BY_FAMILY.get(part.family)
    if message_type is None:
        reason = "a message that is not understood"
        raise DocumentError(reason, path=part.message_id)
    element = part.element
    if message_type is not HEADER:
        if len(element) != 1 or not isinstance(element[0].tag, str):
            raise DocumentError("not one message", path=path_of(element))
        element = element[0]
        # The first versions of some messages are named by their own identifier.
        if element.tag.rpartition("}")[2] not in {message_type.root, part.message_id}:
            reason = f"not the {message_type.root} of its namespace"
            raise DocumentError(reason, path=path_of(element), line=element.sourceline)
    return message_type.shape.read(element)


def build_message(message: Any, header: administration.BusinessHeader | None) -> bytes:
    """Build the bytes of a message, in a ``BusMsg`` with its header if it has one.

    Raises
    ------
    EncodeError
        A value that the message cannot carry.
    """
    body = _build(message)
    if header is None:
        return _octets(body)
    envelope = etree.Element("BusMsg")
    envelope.append(_build(header))
    envelope.append(body)
    return _octets(envelope)


def header_for(
    message: Any,
    *,
    message_id: str,
    created_at: Any,
    **fields: Any,
) -> administration.BusinessHeader:
    """Give a header that agrees with the message it goes before."""
    return administration.BusinessHeader(
        message_id=message_id,
        message_name=type_of(message).message_id,
        created_at=created_at,
        **fields,
    )


def type_of(message: Any) -> MessageType:
    """Give what a model is called on the wire."""
    message_type = _BY_MODEL.get(type(message))
    if message_type is None:
        raise EncodeError(f"no message of ISO 20022: {type(message).__name__}")
    return message_type


def _build(message: Any) -> Element:
    message_type = type_of(message)
    space = NAMESPACE + message_type.message_id
    top = "AppHdr" if message_type is HEADER else "Document"
    part = etree.Element(f"{{{space}}}{top}", nsmap={None: space})
    root = part
    if message_type is not HEADER:
        root = etree.SubElement(part, f"{{{space}}}{message_type.root}")
    message_type.shape.write(root, message)
    return part


def _octets(element: Element) -> bytes:
    octets: bytes = etree.tostring(element, xml_declaration=True, encoding="UTF-8")
    return octets
