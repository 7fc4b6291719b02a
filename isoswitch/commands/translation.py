"""What ``isoswitch translate`` does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from isoswitch.codecs.annotation import annotate
from isoswitch.codecs.canonical.errors import ConfigError, DecodeError, EncodeError
from isoswitch.codecs.canonical.money import CURRENCIES
from isoswitch.codecs.dialects.dialect import Dialect
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso20022.caaa import CaaaDialect
from isoswitch.codecs.iso20022.caaa_tables import BY_REQUEST
from isoswitch.codecs.iso20022.cain import CainDialect
from isoswitch.codecs.iso20022.cain_tables import REQUESTS
from isoswitch.codecs.iso20022.document import read_document
from isoswitch.codecs.iso20022.leaves import CardMessage, to_card_message
from isoswitch.codecs.iso20022.schemas import Mode, Schemas
from isoswitch.codecs.iso20022.translation import CardDialect, Loss, from_card, to_card
from isoswitch.commands.console import (
    OK,
    USAGE,
    Failure,
    plain_table,
    print_json,
    stderr,
    stdout,
)
from isoswitch.commands.conversations import Known, failure_of, find_conversations
from isoswitch.commands.inputs import read_input
from isoswitch.commands.messages import leaves_table

_READ = frozenset({*REQUESTS, *BY_REQUEST})
_FAMILIES = sorted({"cain", "caaa", *(message_id[:8] for message_id in _READ)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to make, and how to show it."""

    to: str
    currency: str
    report: bool
    as_json: bool
    unsafe: bool


def translate(what: str, known: Known, wish: Wish) -> int:
    """Translate one message and show it, with what is lost if that is asked for."""
    if wish.currency not in CURRENCIES:
        fix = "give its number, such as 978 for the euro"
        raise Failure("not a currency", fix=fix, exit_code=USAGE)
    data = read_input(what)
    now = datetime.now(UTC)
    try:
        if data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
            card = _read_card(data)
            other = _dialect(wish.to)
            there = from_card(
                card,
                other,
                _cards(card.message_id),
                reference=now,
                currency=wish.currency,
            )
            _show_message(there.message, wish, there.losses)
            losses = there.losses
        else:
            message, dialect = _read_message(data, known)
            _check_family(wish.to)
            back = to_card(
                message, dialect, _cards(wish.to), reference=now, currency=wish.currency
            )
            _tell_family(back.message, wish.to)
            _show_card(back.message, wish, back.losses)
            losses = back.losses
    except EncodeError as fault:
        fix = "the other standard has no message for it; nothing was translated"
        raise Failure(str(fault), fix=fix) from None
    except DecodeError as fault:
        fix = "requests and advices translate; `isoswitch decode` shows what it is"
        raise Failure(str(fault), fix=fix) from None
    if losses and not wish.report and not wish.as_json:
        told = f"{len(losses)} fields have no place there; --report lists them"
        stderr().print(told, style="yellow", markup=False)
    return OK


def _cards(name: str) -> CardDialect:
    """Give the dialect of a message by its name or identifier."""
    schemas = Schemas()
    if name.startswith("caaa"):
        return CaaaDialect(schemas, Mode.PROFILE)
    return CainDialect(schemas, Mode.PROFILE)


def _read_card(data: bytes) -> CardMessage:
    part = read_document(data).body
    if part is None or part.message_id not in _READ:
        raise DecodeError(f"not a request of {', '.join(sorted(_READ))}")
    return to_card_message(part, data)


def _read_message(data: bytes, known: Known) -> tuple[Message, Dialect]:
    [conversation, *_], _ = find_conversations(data, known)
    if conversation.detection is None:
        assert conversation.fault is not None
        raise failure_of(conversation.fault)
    profile = conversation.detection.best.profile
    return profile.read(conversation.heard[0].payload).message, _dialect(
        profile.dialect
    )


def _dialect(name: str) -> Dialect:
    try:
        return get_dialect(name)
    except ConfigError as fault:
        fix = "`isoswitch dialect list` names the dialects"
        raise Failure(str(fault), fix=fix, exit_code=USAGE) from None


def _check_family(to: str) -> None:
    if to[:8] not in _FAMILIES:
        fix = f"one of {', '.join(_FAMILIES)}"
        raise Failure(f"ISO 8583 does not become {to}", fix=fix, exit_code=USAGE)


def _tell_family(message: CardMessage, to: str) -> None:
    """Say so where the transaction is another message than was asked for."""
    if not message.message_id.startswith(to):
        told = f"what this message does is a {message.family}, not a {to}"
        stderr().print(told, style="yellow", markup=False)


def _show_card(message: CardMessage, wish: Wish, losses: Sequence[Loss]) -> None:
    if wish.as_json:
        facts: dict[str, Any] = {"message": message.message_id}
        facts["leaves"] = dict(message.described(unsafe=wish.unsafe))
        if wish.unsafe:
            facts["xml"] = message.raw.decode()
        print_json(facts | _losses_json(losses))
        return
    if wish.unsafe:
        stdout().print(message.raw.decode(), markup=False)
    else:
        stdout().print(message.message_id, style="bold")
        stdout().print(leaves_table(message))
    _report(losses, wish)


def _show_message(message: Message, wish: Wish, losses: Sequence[Loss]) -> None:
    parts = annotate(message, unsafe=wish.unsafe)
    if wish.as_json:
        facts: dict[str, Any] = {"dialect": message.codec.name}
        facts["fields"] = {part.place: part.value for part in parts}
        if wish.unsafe:
            facts["hex"] = message.raw.hex().upper()
        print_json(facts | _losses_json(losses))
        return
    if wish.unsafe:
        stdout().print(message.raw.hex().upper(), markup=False)
    table = plain_table("field", "value", "meaning")
    for part in parts:
        table.add_row(part.place, part.value, part.meaning)
    stdout().print(table)
    _report(losses, wish)


def _losses_json(losses: Sequence[Loss]) -> dict[str, Any]:
    return {
        "losses": [
            {"place": each.place, "value": each.value, "reason": each.reason}
            for each in losses
        ]
    }


def _report(losses: Sequence[Loss], wish: Wish) -> None:
    if not wish.report:
        return
    if not losses:
        stdout().print("\nnothing is lost", style="green")
        return
    table = plain_table("lost", "value", "why")
    for each in losses:
        table.add_row(each.place, each.value, each.reason)
    stdout().print()
    stdout().print(table)
