"""National and network QR schemes: where their account stands and what it holds.

Each scheme is data: the template it uses, the identifier in its object 00 (compared
without case), and what the nested objects mean. :func:`build_account` makes the
template; the rest of the code is EMVCo's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from isoswitch.codecs.canonical.errors import EncodeError
from isoswitch.codecs.qr.mpm import (
    ADDITIONAL_DATA,
    DYNAMIC,
    STATIC,
    TIP_FIXED,
    TIP_PROMPT,
    MpmCode,
    QrObject,
    build_mpm,
    item,
    nest,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class QrScheme:
    """A scheme's account template; ``guid`` is empty where the object is plain text.

    ``payload_format`` is the value of object 00 of the whole code.
    """

    name: str
    title: str
    template: str
    guid: str
    country: str
    currency: str
    fields: Mapping[str, str]
    required: tuple[str, ...] = ()
    payload_format: str = "01"


@dataclass(frozen=True, slots=True)
class Tip:
    """How a tip or fee is added: a kind of ``mpm.TIP_...`` and its amount or rate."""

    kind: str
    value: Decimal = Decimal(0)


_ALL = (
    QrScheme(
        name="pix",
        title="Pix, Brazil",
        template="26",
        guid="br.gov.bcb.pix",
        country="BR",
        currency="986",
        fields={"01": "key", "02": "description", "03": "facilitator", "25": "url"},
    ),
    QrScheme(
        name="paynow",
        title="PayNow, Singapore",
        template="26",
        guid="SG.PAYNOW",
        country="SG",
        currency="702",
        fields={
            "01": "proxy type (0 mobile, 2 UEN)",
            "02": "proxy",
            "03": "amount may be edited (0, 1)",
            "04": "expiry",
        },
        required=("01", "02", "03"),
    ),
    QrScheme(
        name="sgqr",
        title="SGQR, Singapore",
        template="51",
        guid="SG.SGQR",
        country="SG",
        currency="702",
        fields={
            "01": "SGQR identifier",
            "02": "version",
            "03": "postal code",
            "04": "level",
            "05": "unit",
            "06": "miscellaneous",
            "07": "version date",
        },
        required=("01",),
    ),
    QrScheme(
        name="duitnow",
        title="DuitNow, Malaysia",
        template="26",
        guid="A0000006150001",
        country="MY",
        currency="458",
        fields={"01": "acquirer", "02": "merchant"},
        required=("01", "02"),
        payload_format="02",
    ),
    QrScheme(
        name="promptpay",
        title="PromptPay, Thailand",
        template="29",
        guid="A000000677010111",
        country="TH",
        currency="764",
        fields={
            "01": "mobile number",
            "02": "national identifier",
            "03": "e-wallet",
            "04": "bank account",
        },
    ),
    QrScheme(
        name="promptpay-bill",
        title="PromptPay bill payment, Thailand",
        template="30",
        guid="A000000677010112",
        country="TH",
        currency="764",
        fields={"01": "biller", "02": "reference 1", "03": "reference 2"},
        required=("01", "02"),
    ),
    QrScheme(
        name="unionpay",
        title="UnionPay",
        template="15",
        guid="",
        country="CN",
        currency="156",
        fields={"": "acquirer 8, forwarder 8, merchant 15"},
        required=("",),
    ),
    QrScheme(
        name="vietqr",
        title="VietQR, Vietnam",
        template="38",
        guid="A000000727",
        country="VN",
        currency="704",
        fields={"01": "beneficiary", "02": "service"},
        required=("01", "02"),
    ),
    QrScheme(
        name="vnpay",
        title="VNPAY, Vietnam",
        template="26",
        guid="A000000775",
        country="VN",
        currency="704",
        fields={"01": "merchant"},
        required=("01",),
    ),
    QrScheme(
        name="jpqr",
        title="JPQR, Japan",
        template="26",
        guid="jp.or.paymentsjapan",
        country="JP",
        currency="392",
        fields={"01": "operator", "02": "store", "03": "terminal", "04": "version"},
        required=("01",),
    ),
    QrScheme(
        name="qris",
        title="QRIS, Indonesia",
        template="51",
        guid="ID.CO.QRIS.WWW",
        country="ID",
        currency="360",
        fields={"01": "merchant PAN", "02": "merchant", "03": "merchant size"},
        required=("02",),
    ),
    QrScheme(
        name="fps",
        title="FPS, Hong Kong",
        template="26",
        guid="hk.com.hkicl",
        country="HK",
        currency="344",
        fields={
            "01": "clearing code",
            "02": "FPS identifier",
            "03": "mobile number",
            "04": "email address",
            "05": "expiry",
        },
    ),
    QrScheme(
        name="bharatqr-upi",
        title="Bharat QR with a UPI address, India",
        template="26",
        guid="A000000524",
        country="IN",
        currency="356",
        fields={"01": "UPI address", "02": "lowest amount"},
        required=("01",),
    ),
    QrScheme(
        name="lapnet",
        title="LAPNet, Laos",
        template="38",
        guid="A005266284662577",
        country="LA",
        currency="418",
        fields={"01": "acquirer", "02": "payment type", "03": "receiver"},
    ),
)
SCHEMES: Mapping[str, QrScheme] = MappingProxyType({each.name: each for each in _ALL})

_BY_GUID = {each.guid.upper(): each for each in _ALL if each.guid}

UNIONPAY_SIZE = 31


def find_scheme(account: QrObject) -> QrScheme | None:
    """Find whose account an object is: by its 00, or as UnionPay's plain text.

    Examples
    --------
    >>> find_scheme(nest("26", {"00": "BR.GOV.BCB.PIX", "01": "key"})).name
    'pix'
    """
    if account.id in ("15", "16"):
        return SCHEMES["unionpay"]
    return _BY_GUID.get(account.child("00").upper())


def find_schemes(code: MpmCode) -> list[QrScheme]:
    """Find the known schemes that a code can be paid with."""
    found = (find_scheme(each) for each in code.accounts)
    return [scheme for scheme in found if scheme is not None]


def build_account(scheme: QrScheme, values: Mapping[str, str]) -> QrObject:
    """Make the account object of a scheme from the values of its nested objects.

    Raises
    ------
    EncodeError
        A required value is missing, or the scheme knows no such object.

    Examples
    --------
    >>> build_account(SCHEMES["promptpay"], {"01": "0066801234567"}).encode()
    '29370016A00000067701011101130066801234567'
    """
    place = scheme.template
    for identifier in scheme.required:
        if not values.get(identifier):
            meaning = scheme.fields[identifier]
            reason = f"{scheme.name} needs {meaning}"
            raise EncodeError(reason, field=f"{place}.{identifier}".rstrip("."))
    for identifier in values:
        if identifier not in scheme.fields:
            reason = f"{scheme.name} has no such object"
            raise EncodeError(reason, field=f"{place}.{identifier}".rstrip("."))
    if not scheme.guid:
        return _build_unionpay(place, values[""])
    return nest(place, {"00": scheme.guid, **values})


def build_merchant_code(
    scheme: QrScheme,
    account: Mapping[str, str],
    *,
    name: str,
    city: str,
    mcc: str = "0000",
    amount: Decimal | None = None,
    currency: str = "",
    country: str = "",
    is_dynamic: bool = False,
    tip: Tip | None = None,
    additional: Mapping[str, str] | None = None,
) -> MpmCode:
    """Make a whole merchant-presented code for one scheme.

    Parameters
    ----------
    account
        The scheme's nested values, as for :func:`build_account`.
    currency, country
        The scheme's own where empty.
    additional
        Values of template 62 by identifier, such as ``{"05": "REF1"}``.

    Raises
    ------
    EncodeError
        The values do not make a valid code.

    Examples
    --------
    >>> code = build_merchant_code(
    ...     SCHEMES["pix"], {"01": "123e4567-e12b-12d1-a456-426655440000"},
    ...     name="Fulano de Tal", city="BRASILIA", additional={"05": "***"},
    ... )
    >>> code.encode()[-8:], code.currency
    ('630448CD', '986')
    """
    parts = [
        item("00", scheme.payload_format),
        item("01", DYNAMIC if is_dynamic else STATIC),
        build_account(scheme, account),
        item("52", mcc),
        item("53", currency or scheme.currency),
    ]
    if amount is not None:
        parts.append(item("54", f"{amount:f}"))
    if tip is not None:
        parts.append(item("55", tip.kind))
        if tip.kind != TIP_PROMPT:
            parts.append(
                item("56" if tip.kind == TIP_FIXED else "57", f"{tip.value:f}")
            )
    parts.append(item("58", country or scheme.country))
    parts.append(item("59", name))
    parts.append(item("60", city))
    if additional:
        parts.append(nest(ADDITIONAL_DATA, additional))
    return build_mpm(parts)


def _build_unionpay(place: str, text: str) -> QrObject:
    if len(text) != UNIONPAY_SIZE:
        raise EncodeError(f"not {UNIONPAY_SIZE} characters", field=place)
    return item(place, text)
