"""The card schemes' authorisation dialects, as far as public samples show them.

They are dual-message networks: a purchase is authorised (0100, 1100) and cleared later
from a file, so MTI class 1 alone does not make a pre-authorisation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from isoswitch.codecs.canonical.codes import Kind
from isoswitch.codecs.dialects.edition import RequestRow, Values
from isoswitch.codecs.dialects.edition1987 import (
    EDITION_1987,
    KINDS,
    PURCHASE_TYPES,
    REQUESTS,
)
from isoswitch.codecs.dialects.edition1993 import (
    EDITION_1993,
)
from isoswitch.codecs.dialects.edition1993 import (
    KINDS as KINDS_1993,
)
from isoswitch.codecs.dialects.edition1993 import (
    REQUESTS as REQUESTS_1993,
)
from isoswitch.codecs.dialects.entry_mode import CODES_SCHEME, CODES_SCHEME_4

_PURCHASES = {f"1{code}": Kind.PURCHASE for code in PURCHASE_TYPES}

# DE 25: 00 normal, 06 pre-authorised, 51 verification without authorisation.
VISA_REQUESTS: Mapping[Kind, RequestRow] = {
    **REQUESTS,
    Kind.PURCHASE: RequestRow("1", "00", {25: "00"}),
    Kind.CASH_WITHDRAWAL: RequestRow("1", "01", {25: "00"}),
    Kind.PURCHASE_WITH_CASHBACK: RequestRow("1", "09", {25: "00"}),
    Kind.REFUND: RequestRow("1", "20", {25: "00"}),
    Kind.BALANCE_INQUIRY: RequestRow("1", "30", {25: "00"}),
    Kind.ACCOUNT_VERIFICATION: RequestRow("1", "00", {25: "51"}),
    Kind.SIGN_ON: RequestRow("8", constants={70: "071"}),
    Kind.SIGN_OFF: RequestRow("8", constants={70: "072"}),
}

VISA_KINDS: Mapping[str, Kind] = {
    **KINDS,
    **_PURCHASES,
    "10006": Kind.PREAUTHORISATION,
    "10006+": Kind.INCREMENTAL,
    "10051": Kind.ACCOUNT_VERIFICATION,
}

VISA = replace(
    EDITION_1987,
    requests=VISA_REQUESTS,
    kinds=VISA_KINDS,
    entry_codes=CODES_SCHEME_4,
    echo_fields=EDITION_1987.echo_fields | {19},
    chip_in_dataset=True,
)

# DE 61, position 7: 0 normal, 4 pre-authorisation. The other positions say nothing:
# an attended terminal of the merchant with card and cardholder present.
_NORMAL = {61: "0" * 16}
_RESERVES = {61: "0000004" + "0" * 9}

MASTERCARD_REQUESTS: Mapping[Kind, RequestRow] = {
    **{kind: row._replace(constants={}) for kind, row in REQUESTS.items()},
    Kind.PURCHASE: RequestRow("1", "00", _NORMAL),
    Kind.CASH_WITHDRAWAL: RequestRow("1", "01", _NORMAL),
    Kind.PURCHASE_WITH_CASHBACK: RequestRow("1", "09", _NORMAL),
    Kind.PREAUTHORISATION: RequestRow("1", "00", _RESERVES),
    Kind.INCREMENTAL: RequestRow("1", "00", _RESERVES),
    Kind.COMPLETION: RequestRow("2", "00", _RESERVES),
    Kind.REFUND: RequestRow("1", "20", _NORMAL),
    Kind.BALANCE_INQUIRY: RequestRow("1", "30", _NORMAL),
    Kind.SIGN_ON: RequestRow("8", constants={70: "061"}),
    Kind.SIGN_OFF: RequestRow("8", constants={70: "062"}),
    Kind.KEY_CHANGE: RequestRow("8", constants={70: "161"}),
    Kind.CUTOVER: RequestRow("8", constants={70: "201"}),
    Kind.ECHO: RequestRow("8", constants={70: "270"}),
}

MASTERCARD_KINDS: Mapping[str, Kind] = {
    **KINDS,
    **_PURCHASES,
    "1004": Kind.PREAUTHORISATION,
    "1004+": Kind.INCREMENTAL,
    "2004": Kind.COMPLETION,
    "2004+": Kind.COMPLETION,
}


def read_mastercard_condition(values: Values, mti: str) -> str:
    """Give position 7 of DE 61, and ``+`` where the message names an original."""
    del mti
    condition: str = values.get(61, "")[6:7]
    return condition + "+" if 90 in values else condition


MASTERCARD = replace(
    EDITION_1987,
    requests=MASTERCARD_REQUESTS,
    kinds=MASTERCARD_KINDS,
    read_condition=read_mastercard_condition,
    entry_codes=CODES_SCHEME,
    statement_field=120,
    echo_fields=(EDITION_1987.echo_fields - {25}) | {5, 6, 9, 10, 16, 50, 51, 63},
)

# DE 24: 100 amount accurate, 101 estimated, 180 and 181 verification.
AMEX_REQUESTS: Mapping[Kind, RequestRow] = {
    **REQUESTS_1993,
    Kind.PURCHASE: RequestRow("1", "00", {24: "100"}),
    Kind.CASH_WITHDRAWAL: RequestRow("1", "01", {24: "100"}),
    Kind.PURCHASE_WITH_CASHBACK: RequestRow("1", "09", {24: "100"}),
    Kind.REFUND: RequestRow("1", "20", {24: "100"}),
    Kind.ACCOUNT_VERIFICATION: RequestRow("1", "00", {24: "181"}),
}

AMEX_KINDS: Mapping[str, Kind] = {
    **KINDS_1993,
    **_PURCHASES,
    "100101": Kind.PREAUTHORISATION,
    "100103": Kind.PREAUTHORISATION,
    "100180": Kind.ACCOUNT_VERIFICATION,
    "100181": Kind.ACCOUNT_VERIFICATION,
}

AMEX = replace(EDITION_1993, requests=AMEX_REQUESTS, kinds=AMEX_KINDS)
