"""Which transaction a cain message undoes or adds to."""

from __future__ import annotations

from typing import Final

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.canonical.transaction import OriginalData, Transaction
from isoswitch.codecs.iso20022.cain_tables import (
    AUTHORISATION,
    FINANCIAL,
    KINDS,
    ROWS,
    CainRow,
)
from isoswitch.codecs.iso20022.cards import need, read_instant, read_local
from isoswitch.codecs.iso20022.leaves import Leaves
from isoswitch.codecs.iso20022.values import format_instant

_RRN_DIGITS: Final = 12


def write_original(txn: Transaction) -> dict[str, str]:
    """Give the leaves that name the original of a transaction."""
    original = txn.original
    if original is None:
        return {}
    row = ROWS.get(original.kind)
    message_class = AUTHORISATION if original.mti[1:2] == "1" else FINANCIAL
    leaves = {
        "OrgnlDataElmts/MsgClss": message_class,
        "OrgnlDataElmts/MsgFctn": "ADVC" if original.mti[2:3] in "23" else "REQU",
        "OrgnlDataElmts/TxId/SysTracAudtNb": original.stan,
        # The only place for the type of message that ISO 8583 names an original by.
        "OrgnlDataElmts/TxId/AcqrrRefData": original.mti,
    }
    if row is not None:
        leaves["OrgnlDataElmts/TxTp"] = row.transaction_type
    if original.acquirer_id:
        leaves["OrgnlDataElmts/AcqrrId"] = original.acquirer_id
    if original.rrn:
        leaves["OrgnlDataElmts/TxId/RtrvlRefNb"] = original.rrn.ljust(_RRN_DIGITS)
    if original.transmitted_at is not None:
        sent_at = format_instant(original.transmitted_at)
        leaves["OrgnlDataElmts/TxId/TrnsmssnDtTm"] = sent_at
    if original.local_at is not None:
        local_at = original.local_at
        leaves["OrgnlDataElmts/TxId/LclDt"] = local_at.date().isoformat()
        leaves["OrgnlDataElmts/TxId/LclTm"] = local_at.time().isoformat()
    return leaves


def read_original(leaves: Leaves, kind: Kind) -> OriginalData | None:
    """Read the original of a message that names one."""
    at = "OrgnlDataElmts/"
    stan = leaves.get(f"{at}TxId/SysTracAudtNb")
    rrn = leaves.get(f"{at}TxId/RtrvlRefNb", "").rstrip()
    message_class = leaves.get(f"{at}MsgClss", FINANCIAL)
    if stan is None and kind is not Kind.REVERSAL:
        return None
    # A reversal that names no original means the one whose numbers it repeats.
    stan = stan or need(leaves, "TxId/SysTracAudtNb")
    rrn = rrn or ("" if at in "".join(leaves) else leaves.get("TxId/RtrvlRefNb", ""))
    digit = "1" if message_class == AUTHORISATION else "2"
    function = "2" if leaves.get(f"{at}MsgFctn") in {"ADVC", "CAAD"} else "0"
    mti = leaves.get(f"{at}TxId/AcqrrRefData", "")
    if not (len(mti) == 4 and mti.isdecimal() and mti[1] == digit):
        mti = f"0{digit}{function}0"
    return OriginalData(
        kind=_acted_kind(leaves, kind, message_class),
        mti=mti,
        stan=stan,
        transmitted_at=read_instant(leaves, f"{at}TxId/TrnsmssnDtTm"),
        local_at=read_local(leaves, f"{at}TxId/"),
        acquirer_id=leaves.get(f"{at}AcqrrId", ""),
        rrn=rrn.rstrip(),
    )


def _acted_kind(leaves: Leaves, kind: Kind, message_class: str) -> Kind:
    """Give what the original did.

    A reversal repeats type and attribute of its original; of other originals the class
    tells whether they set money aside or moved it.
    """
    if kind is not Kind.REVERSAL:
        reserved = message_class == AUTHORISATION
        return Kind.PREAUTHORISATION if reserved else Kind.PURCHASE
    transaction_type = leaves.get("TxChrtcs/TxTp", "")
    attribute = leaves.get("TxChrtcs/TxAttr", "")
    rows = (
        CainRow(message_class, transaction_type, attribute),
        CainRow(message_class, transaction_type),
    )
    return next((KINDS[row] for row in rows if row in KINDS), Kind.PURCHASE)
