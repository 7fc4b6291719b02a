"""What ``isoswitch transfers`` prints, and the order it gives."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from rich.text import Text

from isoswitch.clearing.receipt import Receipt
from isoswitch.clearing.transfer import Transfer
from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.commands.console import OK, plain_table, print_json, stdout
from isoswitch.commands.operate import operator_name, order_one
from isoswitch.config.load import load_network
from isoswitch.store.reader import open_reader
from isoswitch.switch.control import ReturnReceipt

REASON = re.compile(r"[A-Z0-9]{4}")


def list_transfers(config: Path | None, *, everything: bool, as_json: bool) -> int:
    """Print the transfers that were sent and received, oldest first."""
    with open_reader(load_network(config).store) as reader:
        sent = reader.transfers() if everything else reader.open_transfers()
        received = reader.find_rows(Receipt)
    rows = [_sent(each) for each in sent] + [
        received_json(each) for each in received if everything or not each.is_final
    ]
    rows.sort(key=lambda row: str(row["at"]))
    if as_json:
        for row in rows:
            print_json(row)
        return OK
    table = plain_table("transaction", "at", "way", "house", "amount", "state", "why")
    for row in rows:
        table.add_row(
            row["transaction"], row["at"][:19], row["way"], row["endpoint"],
            row["amount"], row["state"], Text(row["reason"]),
        )  # fmt: skip
    stdout().print(table if rows else "no transfer is under way")
    return OK


def give_back(
    config: Path | None, transaction: str, *, reason: str, operator: str
) -> int:
    """Have the running switch give a received transfer back.

    Raises
    ------
    ConfigError
        There is no such transfer, or it is not here any more; or the reason is none.
    """
    if not REASON.fullmatch(reason):
        msg = "a return reason has four letters or digits, such as AC04, MS03 or CUST"
        raise ConfigError(msg)
    with open_reader(load_network(config).store) as reader:
        receipt = reader.find_receipt(transaction)
    if receipt is None:
        msg = "no transfer of this name was received; `isoswitch transfers list --all`"
        raise ConfigError(msg)
    order = ReturnReceipt(
        operator=operator_name(operator), receipt=receipt.id, reason=reason
    )
    state = order_one(config, order, str)
    stdout().print(f"{transaction} over {receipt.amount} is {state}")
    return OK


def _sent(transfer: Transfer) -> dict[str, Any]:
    return {
        "transaction": transfer.id,
        "at": transfer.created_at,
        "way": "sent",
        "endpoint": transfer.endpoint,
        "amount": str(transfer.amount),
        "state": transfer.state,
        "reason": transfer.reason,
        "uetr": transfer.uetr,
    }


def received_json(receipt: Receipt) -> dict[str, Any]:
    """Give what is shown of a received transfer: nothing of its customer's account."""
    return {
        "transaction": receipt.transaction_id,
        "at": receipt.received_at,
        "way": "received",
        "endpoint": receipt.endpoint,
        "amount": str(receipt.amount),
        "state": receipt.state,
        "reason": receipt.return_reason or receipt.reason,
        "uetr": receipt.uetr,
    }
