"""What differs between two messages, field by field and masked."""

from __future__ import annotations

from dataclasses import dataclass

from isoswitch.codecs.iso8583.message import Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One field in which two messages differ.

    ``left`` and ``right`` are masked, and None where the field is absent. They can look
    alike when only hidden characters differ.
    """

    field: str
    name: str
    left: str | None
    right: str | None


def diff_messages(left: Message, right: Message) -> list[Difference]:
    """Compare two messages by value, whatever their layouts are.

    Examples
    --------
    >>> from isoswitch.codecs.iso8583.specs import get_codec
    >>> request = get_codec("iso87-ascii").build("0800", {11: "000001", 70: "301"})
    >>> answer = request.replace({39: "00"}, mti="0810")
    >>> [(row.field, row.left, row.right) for row in diff_messages(request, answer)]
    [('mti', '0800', '0810'), ('39', None, '00')]
    """
    rows = []
    if left.mti != right.mti:
        rows.append(_difference("mti", "Message type indicator", left, right))
    for de in sorted({*left, *right}):
        if left.get(de) != right.get(de):
            side = left if de in left else right
            name = side.codec.spec.fields[de].name
            rows.append(_difference(str(de), name, left, right))
    return rows


def describe_diff(left: Message, right: Message) -> str:
    """The differences as a table for people; empty when there are none.

    Examples
    --------
    >>> from isoswitch.codecs.iso8583.specs import get_codec
    >>> request = get_codec("iso87-ascii").build("0800", {11: "000001", 70: "301"})
    >>> print(describe_diff(request, request.replace({70: "001"})))
     70  Network management information code  301 -> 001
    """
    rows = diff_messages(left, right)
    width = max((len(row.name) for row in rows), default=0)
    return "\n".join(
        f"{row.field:>3}  {row.name:<{width}}  {row.left or '-'} -> {row.right or '-'}"
        for row in rows
    )


def _difference(field: str, name: str, left: Message, right: Message) -> Difference:
    return Difference(
        field=field,
        name=name,
        left=left.masked().get(field),
        right=right.masked().get(field),
    )
