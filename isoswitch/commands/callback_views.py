"""What ``isoswitch callbacks`` prints, and the order it gives."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.commands.console import OK, one_of, plain_table, print_json, stdout
from isoswitch.commands.operate import operator_name, order_one
from isoswitch.config.load import load_network
from isoswitch.store.reader import open_reader
from isoswitch.store.rows import Callback, CallbackState
from isoswitch.switch.control import ReplayCallback


def list_callbacks(config: Path | None, *, state: str, as_json: bool) -> int:
    """Print the callbacks of a store, all or those in one state."""
    if state:
        one_of(state, tuple(CallbackState), "state")
    loaded = load_network(config)
    with open_reader(loaded.store) as reader:
        found = reader.find_rows(Callback, state=state)
    if as_json:
        for each in found:
            print_json(asdict(each))
        return OK
    table = plain_table("callback", "merchant", "state", "tried", "next", "wrong")
    for each in found:
        table.add_row(
            each.id,
            each.merchant_id,
            each.state,
            str(each.attempts),
            _moment(each.next_at) if each.state == "pending" else "",
            each.reason,
        )
    stdout().print(table)
    return OK


def show(config: Path | None, callback_id: str) -> int:
    """Print one callback with what it says."""
    loaded = load_network(config)
    with open_reader(loaded.store) as reader:
        found = reader.find_row(Callback, callback_id)
    if found is None:
        msg = f"no callback {callback_id}; `isoswitch callbacks list` names them"
        raise ConfigError(msg)
    print_json({**asdict(found), "body": json.loads(found.body)})
    return OK


def replay(config: Path | None, callback_id: str, *, operator: str) -> int:
    """Have the running switch send a callback again."""
    order = ReplayCallback(callback=callback_id, operator=operator_name(operator))
    told = order_one(config, order, str)
    stdout().print(f"{told} goes out again")
    return OK


def _moment(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(sep=" ", timespec="seconds")
