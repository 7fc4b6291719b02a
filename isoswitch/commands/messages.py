"""Messages on a screen: masked fields as a table, bytes with their secrets hidden."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.text import Text

from isoswitch.codecs.dialects.card_link import CardLinkMessage
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.iso8583.specs import get_spec
from isoswitch.codecs.iso20022.leaves import CardMessage
from isoswitch.commands.console import plain_table

# The first digit of the message type tells the edition, and that the field names.
_SPEC_OF_VERSION = {"0": "iso87-ascii", "1": "iso93-ascii"}
_STYLES = {"mti": "bold magenta", "39": "bold yellow", "38": "green", "4": "bold"}
_HIDDEN = "\N{MIDDLE DOT}\N{MIDDLE DOT}"
_BYTES_PER_LINE = 16


def message_table(fields: Mapping[str, str]) -> RenderableType:
    """Give a masked message as a table: number, name, value."""
    names = get_spec(_SPEC_OF_VERSION.get(fields.get("mti", "")[:1], "iso87-ascii"))
    table = plain_table("field", "name", "value")
    for key in sorted(fields, key=_place):
        spec = names.fields.get(int(key)) if key.isdecimal() else None
        table.add_row(
            Text(key, style="bold cyan"),
            Text(spec.name if spec else "Message type", style="dim"),
            Text(fields[key], style=_STYLES.get(key, "")),
        )
    return table


def wire_lines(message: Message) -> Iterator[str]:
    """Give what a message is on the wire: its bytes, or its elements; masked."""
    if isinstance(message, CardLinkMessage):
        yield message.card.message_id
        yield from (f"{path}  {text}" for path, text in message.card.described())
    else:
        yield from hex_lines(message)


def leaves_table(card: CardMessage, *, unsafe: bool = False) -> RenderableType:
    """Give the elements of a card message as a table: path and text."""
    table = plain_table("element", "value")
    for path, value in card.described(unsafe=unsafe):
        table.add_row(Text(path), Text(value))
    return table


def hex_lines(message: Message, *, unsafe: bool = False) -> Iterator[str]:
    """Give the bytes of a message, 16 to a line; bytes of secret fields as dots."""
    hidden = set() if unsafe else _secret_offsets(message)
    shown = [
        _HIDDEN if offset in hidden else f"{octet:02x}"
        for offset, octet in enumerate(message.raw)
    ]
    for start in range(0, len(shown), _BYTES_PER_LINE):
        piece = range(start, min(start + _BYTES_PER_LINE, len(shown)))
        text = "".join(
            _printable(message.raw[offset]) if offset not in hidden else _HIDDEN[0]
            for offset in piece
        )
        octets = " ".join(shown[offset] for offset in piece)
        yield f"{start:04x}  {octets:<{3 * _BYTES_PER_LINE}} {text}"


def _place(key: str) -> int:
    """Order the message type before the fields, and these by number."""
    return int(key) if key.isdecimal() else 0


def _secret_offsets(message: Message) -> set[int]:
    """Give where the bytes lie that must not be shown."""
    specs = message.codec.spec.fields
    masked = message.masked()
    return {
        offset
        for de in message
        # A field that looks harmless may still hold a card number: then its masked
        # form differs from what is there.
        if specs[de].masking != "show" or "*" in masked[str(de)]
        for offset in range(message.offset(de), message.end(de))
    }


def _printable(octet: int) -> str:
    return chr(octet) if 0x20 <= octet < 0x7F else "."
