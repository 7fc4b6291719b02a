"""What ``isoswitch decode`` does: find out how bytes speak, and show what they say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from isoswitch.codecs.annotation import Part, annotate, clear_value, unknown_parts
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.composites.drift import DriftCounter
from isoswitch.codecs.detection import Detection, Profile, Reading, Undetected
from isoswitch.codecs.headers import HEADERS, split
from isoswitch.codecs.iso8583.masking import mask_value
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso20022.leaves import read_card_part, to_card_message
from isoswitch.commands.console import (
    FAILED,
    OK,
    Failure,
    plain_table,
    print_json,
    say_failure,
    stderr,
    stdout,
)
from isoswitch.commands.conversations import (
    Conversation,
    Heard,
    Known,
    failure_of,
    find_conversations,
)
from isoswitch.commands.inputs import is_document, read_input
from isoswitch.commands.messages import hex_lines, leaves_table

REASONS_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How messages are shown."""

    as_json: bool = False
    unsafe: bool = False
    with_bytes: bool = False


def decode(what: str, known: Known, output: Output) -> int:
    """Show every message of an input; 1 where one of them cannot be read."""
    data = read_input(what)
    if is_document(data):
        return _show_card(data, output)
    conversations, notes = find_conversations(data, known)
    for note in notes:
        stderr().print(note, style="yellow", markup=False)
    return max((_show(each, output) for each in conversations), default=FAILED)


def _show_card(data: bytes, output: Output) -> int:
    """Show a card message of ISO 20022 by its elements."""
    try:
        card = to_card_message(read_card_part(data), data)
    except DecodeError as fault:
        fix = "of ISO 20022 card messages are shown: cain and caaa"
        raise Failure(str(fault), fix=fix) from None
    if output.as_json:
        leaves = dict(card.described(unsafe=output.unsafe))
        print_json({"message": card.message_id, "leaves": leaves})
        return OK
    stdout().print(card.message_id, style="bold")
    stdout().print(leaves_table(card, unsafe=output.unsafe))
    return OK


def _show(conversation: Conversation, output: Output) -> int:
    if conversation.detection is None:
        assert conversation.fault is not None
        return _show_failure(conversation.fault, output)
    detection, heard = conversation.detection, conversation.heard
    if not output.as_json:
        _print_detection(detection)
    exit_code = OK
    drift = DriftCounter()
    for number, each in enumerate(heard, start=1):
        if not output.as_json and len(heard) > 1:
            stdout().print(_place(number, each, heard[0].time_s))
        try:
            if each.fault:
                raise DecodeError(each.fault)
            reading = detection.best.profile.read(each.payload)
        except DecodeError as fault:
            exit_code = FAILED
            _show_broken(detection, each, fault, output)
            continue
        drift.observe(_peer(each), number, unknown_parts(reading.message))
        if output.as_json:
            facts = _detection_json(detection) | _place_json(each)
            print_json(facts | _reading_json(detection.best.profile, reading, output))
        else:
            _print_reading(stdout(), detection.best.profile, reading, output)
    if not output.as_json and len(heard) > 1:
        _print_drift(drift)
    return exit_code


def _show_failure(fault: Undetected, output: Output) -> int:
    """Show how far the nearest dialect came, and say what to try."""
    if output.as_json:
        print_json(
            {
                "error": str(fault),
                "field": fault.field,
                "offset": fault.offset,
                "near": [
                    {"profile": str(each.profile), "error": str(each.fault)}
                    for each in fault.near
                ],
            }
        )
        return FAILED
    for near in fault.near[:1]:
        console = stdout()
        name = Text.assemble((str(near.profile), "bold"), "  reads the beginning only")
        console.print(name)
        _print_beginning(console, near.profile, near.header, near.message, output)
    for each in fault.near[1:]:
        stderr().print(f"also {each.profile}: {each.fault}", style="dim", markup=False)
    return say_failure(failure_of(fault))


def _show_broken(
    detection: Detection, heard: Heard, fault: DecodeError, output: Output
) -> None:
    """Show the good fields of a broken message among others."""
    if output.as_json:
        facts = {"error": str(fault), "field": fault.field, "offset": fault.offset}
        print_json(_place_json(heard) | facts)
        return
    console, profile = stdout(), detection.best.profile
    try:
        header, raw = split(profile.header, heard.payload)
        message, _ = profile.codec.salvage(raw)
    except DecodeError:
        pass
    else:
        _print_beginning(console, profile, header, message, output)
    console.print(Text.assemble(("✗ ", "red"), str(fault)))


def _print_detection(detection: Detection) -> None:
    console, best = stdout(), detection.best
    ahead = f"{detection.margin_bits:.0f} bits ahead of "
    rivals = detection.candidates[1:2]
    rival = str(rivals[0].profile) if rivals else "mere noise"
    console.print(
        Text.assemble(
            (str(best.profile), "bold"),
            f"  {detection.confidence}: {ahead}{rival}",
        )
    )
    for sign, style, reasons in (
        ("+", "green", best.evidence),
        ("-", "yellow", best.doubts),
    ):
        more = len(reasons) - REASONS_SHOWN
        text = "; ".join(reasons[:REASONS_SHOWN])
        if reasons:
            rest = f"; and {more} more" if more > 0 else ""
            console.print(Text.assemble((f"  {sign} ", style), (text + rest, "dim")))
    if detection.ties:
        ties = ", ".join(str(each) for each in detection.ties)
        console.print(Text(f"  = reads the same as {ties}", style="dim"))


def _print_drift(drift: DriftCounter) -> None:
    """Tell what no dictionary here knows, of all messages together."""
    rows = drift.report()
    if not rows:
        return
    table = plain_table("unknown", "from", "messages", "first", "last", "bytes")
    for row in rows:
        shortest, longest = row.length_min, row.length_max
        sizes = f"{shortest}" if shortest == longest else f"{shortest}-{longest}"
        counts = str(row.count), str(row.first), str(row.last)
        table.add_row(Text(row.path), Text(row.peer), *counts, sizes)
    console = stdout()
    console.print()
    console.print(table)
    if drift.overflow:
        console.print(f"and {drift.overflow} more that did not fit")


def _print_reading(
    console: Console, profile: Profile, reading: Reading, output: Output
) -> None:
    _print_parts(console, profile, reading, output, is_doubtful=False)
    if output.with_bytes:
        for line in hex_lines(reading.message, unsafe=output.unsafe):
            console.print(line, style="dim", markup=False)


def _print_beginning(
    console: Console,
    profile: Profile,
    header: bytes,
    message: Message,
    output: Output,
) -> None:
    """Show what was read of a message; where its secrets stand is not certain."""
    reading = Reading(header=header, message=message)
    _print_parts(console, profile, reading, output, is_doubtful=True)


def _print_parts(
    console: Console,
    profile: Profile,
    reading: Reading,
    output: Output,
    *,
    is_doubtful: bool,
) -> None:
    if reading.header:
        header = _shown_header(profile.header, reading.header, output)
        console.print(Text.assemble(("header ", "dim"), header))
    parts = annotate(reading.message, unsafe=output.unsafe, is_doubtful=is_doubtful)
    console.print(_table(parts))


def _table(parts: list[Part]) -> Table:
    table = plain_table("at", "field", "format", "name", "value", "meaning")
    for part in parts:
        is_inner = "." in part.place
        table.add_row(
            Text(f"{part.offset:04x}" if part.offset >= 0 else "", style="dim"),
            Text(f"  {part.place}" if is_inner else part.place, style="bold cyan"),
            Text(part.format, style="dim"),
            Text(part.name, style="dim"),
            Text(_printable(part.value)),
            Text(part.meaning, style="green"),
        )
    return table


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\N{MIDDLE DOT}" for c in text)


def _shown_header(kind: str, header: bytes, output: Output) -> str:
    """Bytes of no known kind may be anything, a card number too."""
    is_known = kind in HEADERS
    if output.unsafe:
        return header.hex().upper()
    return mask_value(header, "show" if is_known else "hide")


def _place(number: int, heard: Heard, start_s: float) -> Text:
    text = Text.assemble("\n", (f"message {number}", "bold"))
    if heard.packet:
        ends = f"  {heard.source} → {heard.destination}"
        text.append(f"{ends}  packet {heard.packet}  +{heard.time_s - start_s:.6f} s")
    return text


def _peer(heard: Heard) -> str:
    """Who sent it; the port of a client is another one each time."""
    return heard.source.rpartition(":")[0]


def _place_json(heard: Heard) -> dict[str, Any]:
    if not heard.packet:
        return {}
    return {
        "packet": heard.packet,
        "time_s": round(heard.time_s, 6),
        "source": heard.source,
        "destination": heard.destination,
    }


def _detection_json(detection: Detection) -> dict[str, Any]:
    rivals = [str(each.profile) for each in detection.candidates[1:4]]
    return {
        "confidence": detection.confidence,
        "margin_bits": round(detection.margin_bits, 1),
        "evidence": detection.best.evidence,
        "doubts": detection.best.doubts,
        "ties": [str(each) for each in detection.ties],
        "rivals": rivals,
    }


def _reading_json(profile: Profile, reading: Reading, output: Output) -> dict[str, Any]:
    message = reading.message
    fields = message.masked()
    mti = fields.pop("mti")
    if output.unsafe:
        fields = {str(de): clear_value(value) for de, value in message.values().items()}
    header = _shown_header(profile.header, reading.header, output)
    return {
        "framing": profile.framing,
        "header": {"kind": profile.header, "hex": header},
        "dialect": profile.dialect,
        "mti": mti,
        "fields": fields,
        "parts": [
            {
                "place": part.place,
                "offset": part.offset,
                "size": part.size,
                "name": part.name,
                "value": part.value,
                "meaning": part.meaning,
            }
            for part in annotate(message, unsafe=output.unsafe)
        ],
    }
