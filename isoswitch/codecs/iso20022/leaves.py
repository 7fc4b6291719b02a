"""Card messages as flat tables: the path of each text below the message, and the text.

The card messages of ISO 20022 are lists of data elements as ISO 8583 has them, so they
are handled as such: ``{"TxId/SysTracAudtNb": "000017", ...}``. A path that repeats gets
a number from its second time on: ``AddtlAmt[2]/Tp``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from lxml import etree

from isoswitch.codecs.canonical.errors import DocumentError, EncodeError
from isoswitch.codecs.canonical.secrets import mask_pan
from isoswitch.codecs.iso8583.masking import scan
from isoswitch.codecs.iso20022.document import (
    NAMESPACE,
    Element,
    Part,
    path_of,
    read_document,
)
from isoswitch.codecs.iso20022.schemas import Mode, Schemas

Leaves = Mapping[str, str]

_NUMBER = re.compile(r"\[\d+\]")
_PANS: Final = frozenset({"PAN", "PmtTkn", "PANAcctRg"})
# Elements whose text nobody may see, wherever they stand, and all that is in them.
_HIDDEN: Final = frozenset(
    {"Trck1", "Trck2", "Trck3", "ICCRltdData", "PINData", "NcrptdPINBlck", "CrdhldrNm"}
    | {"PrtctdCardData", "PrtctdData", "EnvlpdData", "CardSctyCd", "Vrfctn", "Authntcn"}
)
_CLEAR_IN_HIDDEN: Final = frozenset({"Tp", "PINBlckFrmt", "PINFrmt", "CnttTp"})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CardMessage:
    """A card message: its identifier, its exact bytes, and its leaves.

    ``root`` is the name of the element in its ``Document``.
    """

    message_id: str
    root: str
    raw: bytes
    leaves: Leaves

    def __repr__(self) -> str:
        return f"CardMessage({self.message_id})"

    @property
    def family(self) -> str:
        """The message without its version, such as ``cain.001``."""
        return self.message_id[:8]

    def described(self, *, unsafe: bool = False) -> Iterator[tuple[str, str]]:
        """Give path and text of every leaf, secrets masked unless told otherwise."""
        for path, value in self.leaves.items():
            yield path, value if unsafe else mask_leaf(path, value)


def read_card_message(
    data: bytes,
    schemas: Schemas,
    mode: Mode,
    paths_of: Callable[[str], tuple[str, ...]],
) -> CardMessage:
    """Read a card message and hold it to its schema.

    Where the published schema was to judge and is not there, our profile judges what
    ``paths_of`` its identifier we know; what else it may have, nobody acts on.

    Raises
    ------
    DocumentError
        It does not come through the door, or does not follow its schema.
    """
    part = read_card_part(data)
    message = to_card_message(part, data)
    if mode is Mode.BASE and not schemas.has_base(part.message_id):
        _leave_known(part.element[0], paths_of(part.message_id))
    schemas.verify(part, mode)
    return message


def read_card_part(data: bytes) -> Part:
    """Find the card message in a document, whatever schema it follows.

    Raises
    ------
    DocumentError
        It does not come through the door, or is another message.
    """
    part = read_document(data).body
    if part is None or not part.message_id.startswith(("cain.", "caaa.")):
        raise DocumentError("not a card message")
    return part


def to_card_message(part: Part, raw: bytes) -> CardMessage:
    """Give the leaves of a card message.

    Raises
    ------
    DocumentError
        There is not one message in its ``Document``.
    """
    if len(part.element) != 1:
        raise DocumentError("not one message", path=path_of(part.element))
    root = part.element[0]
    leaves: dict[str, str] = {}
    _collect(root, "", leaves)
    name = root.tag.rpartition("}")[2]
    return CardMessage(message_id=part.message_id, root=name, raw=raw, leaves=leaves)


def build_card_message(
    message_id: str, root: str, leaves: Leaves, order: Sequence[str]
) -> CardMessage:
    """Build a message from leaves in any order; ``order`` has the paths of the schema.

    Raises
    ------
    EncodeError
        A text that XML cannot carry.
    """
    assert leaves.keys() <= set(order), leaves.keys() - set(order)
    space = NAMESPACE + message_id
    document = etree.Element(f"{{{space}}}Document", nsmap={None: space})
    top = etree.SubElement(document, f"{{{space}}}{root}")
    ordered = {path: leaves[path] for path in order if path in leaves}
    for path, value in ordered.items():
        element = top
        *above, last = path.split("/")
        for name in above:
            tag = f"{{{space}}}{name}"
            if len(element) and element[-1].tag == tag:
                element = element[-1]
            else:
                element = etree.SubElement(element, tag)
        try:
            etree.SubElement(element, f"{{{space}}}{last}").text = value
        except ValueError:
            raise EncodeError("a character XML cannot carry", field=path) from None
    raw = etree.tostring(document, xml_declaration=True, encoding="UTF-8")
    return CardMessage(message_id=message_id, root=root, raw=raw, leaves=ordered)


def mask_leaf(path: str, value: str) -> str:
    """Give the text of a leaf as it may be shown and stored.

    Examples
    --------
    >>> mask_leaf("Card/PAN", "4111111111111111")
    '411111******1111'
    >>> mask_leaf("Vrfctn/PINData/NcrptdPINBlck", "0123456789ABCDEF")
    '*** (16 characters)'
    >>> mask_leaf("Vrfctn[2]/Tp", "NPIN")
    'NPIN'
    """
    names = _NUMBER.sub("", path).split("/")
    if names[-1] in _PANS:
        return mask_pan(value)
    if _HIDDEN.intersection(names) and names[-1] not in _CLEAR_IN_HIDDEN:
        return f"*** ({len(value)} characters)"
    return scan(value)


def _leave_known(root: Element, paths: tuple[str, ...]) -> None:
    """Take out of a tree what none of the paths leads to."""
    known = _ways(paths)
    waiting = [("", root)]
    while waiting:
        at, element = waiting.pop()
        for child in list(element):
            place = at + child.tag.rpartition("}")[2]
            if place in known:
                waiting.append((place + "/", child))
            else:
                element.remove(child)


@cache
def _ways(paths: tuple[str, ...]) -> frozenset[str]:
    """Give the paths and all that is above them."""
    split = [path.split("/") for path in paths]
    return frozenset(
        "/".join(names[:depth]) for names in split for depth in range(1, len(names) + 1)
    )


def _collect(element: Element, path: str, leaves: dict[str, str]) -> None:
    counts: dict[str, int] = {}
    for child in element:
        name = child.tag.rpartition("}")[2]
        count = counts[name] = counts.get(name, 0) + 1
        place = f"{path}{name}" if count == 1 else f"{path}{name}[{count}]"
        if len(child):
            _collect(child, place + "/", leaves)
        else:
            leaves[place] = child.text or ""
