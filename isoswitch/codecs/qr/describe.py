"""Any payment code, recognised and described for a person, masked."""

from __future__ import annotations

from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.emv.describe import describe_tlv
from isoswitch.codecs.iso8583.masking import scan
from isoswitch.codecs.qr import links, mpm
from isoswitch.codecs.qr.cpm import CpmCode, decode_cpm
from isoswitch.codecs.qr.links import UpiLink, decode_upi
from isoswitch.codecs.qr.mpm import MpmCode, QrObject, decode_mpm
from isoswitch.codecs.qr.payment_codes import PaymentCode, decode_payment_code
from isoswitch.codecs.qr.schemes import find_scheme

Code = MpmCode | CpmCode | UpiLink | PaymentCode
Row = tuple[str, str, str]

# Base64 of tag 85, five bytes long, that starts with CPV.
_CPM_START = "hQVDUF"
_MPM_START = "0002"


def decode_code(text: str) -> Code:
    """Recognise what a scanner read, and decode it.

    Raises
    ------
    DecodeError
        No kind of payment code, or not a valid one of its kind.

    Examples
    --------
    >>> type(decode_code("upi://pay?pa=shop@bank")).__name__
    'UpiLink'
    """
    if text.startswith(_MPM_START):
        return decode_mpm(text)
    if text.startswith(_CPM_START):
        return decode_cpm(text)
    if text[: len(links.SCHEME)].lower() == links.SCHEME:
        return decode_upi(text)
    if text[:1].isascii() and text[:1].isdecimal():
        return decode_payment_code(text)
    raise DecodeError("no kind of payment code")


def title(code: Code) -> str:
    """Say in a few words what a code is.

    Examples
    --------
    >>> title(decode_code("135112298638468293"))
    'payment code of wechat'
    """
    if isinstance(code, MpmCode):
        kinds = {None: "plain", True: "dynamic", False: "static"}
        return f"merchant-presented code, {kinds[code.is_dynamic]}"
    if isinstance(code, CpmCode):
        return "consumer-presented code"
    if isinstance(code, UpiLink):
        return "UPI link"
    return f"payment code of {code.wallet}"


def is_public(code: Code) -> bool:
    """Whether anybody may see the code: a merchant's, and no part of it is masked."""
    is_merchants = isinstance(code, MpmCode | UpiLink)
    return is_merchants and describe_code(code) == describe_code(code, unsafe=True)


def describe_code(code: Code, *, unsafe: bool = False) -> list[Row]:
    """Give path, name and value of each part, masked unless told otherwise.

    Examples
    --------
    >>> describe_code(decode_code("upi://pay?pa=shop@bank&am=10"))
    [('pa', 'payee address', 'shop@bank'), ('am', 'amount', '10')]
    """
    if isinstance(code, PaymentCode):
        digits = code.encode() if unsafe else code.digits.masked
        return [("", f"digits for {code.wallet}", digits)]
    if isinstance(code, CpmCode):
        views = describe_tlv(code.tlv, unsafe=unsafe)
        return [(view.path, view.name, view.value) for view in views]
    rows = _describe_mpm(code) if isinstance(code, MpmCode) else _describe_link(code)
    return rows if unsafe else [(path, name, scan(value)) for path, name, value in rows]


def _describe_link(code: UpiLink) -> list[Row]:
    return [
        (name, links.NAMES.get(name, "other"), code.value(name))
        for name, _ in code.parameters
    ]


def _describe_mpm(code: MpmCode) -> list[Row]:
    rows: list[Row] = []
    owner: QrObject | None = None
    for path, each in code.walk():
        if "." not in path:
            owner = each
        assert owner is not None
        value = "" if each.children else each.value
        rows.append((path, _name(path, each, owner), value))
    return rows


def _name(path: str, each: QrObject, owner: QrObject) -> str:
    scheme = find_scheme(owner) if "02" <= owner.id <= "51" else None
    if each is owner:
        return scheme.title if scheme else mpm.NAMES.get(path, "unknown")
    if path.count(".") == 1 and each.id == "00" and owner.id not in ("62", "64"):
        return "globally unique identifier"
    if scheme:
        return scheme.fields.get(each.id, "unknown")
    return mpm.NAMES.get(path, "value")
