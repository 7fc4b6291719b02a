"""Keys that everybody knows, and refusing them where money is real.

A published key is recognised by its check value, as the key file holds nothing else
of it; another key has the same one with a chance of one in 16 million. Keys that were
formed from given test values carry that in their header as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.hsm.keys import KeyRecord

# Check values as TDES and as AES keys, of 16, 24 and 32 bytes.
_CHECK_VALUES: Mapping[str, str] = {
    "a well-known pattern": (
        "08D7B4 2090A67375 377822C093 53E107B36E 6F2F9BE174 7B8358 8BAF47 "
        "A68CDC BE7ED6AE78 CB53D6B69C CF34868DF7 D5D44F DDADA1 E01A5F4A7D "
        "FB0975 "
    ),
    "digits repeated": (
        "00962B 01CDBC7BD1 0268687E33 0329FFB939 0A7BA2 0B22DD9EFA 0B50E605FA "
        "0CD7DC 0E002A 0E5723074D 0F2FCF 0FC0DC17D7 145291005E 18EC38 "
        "217D2CC3F7 25E1D4 2761FE184C 28AB4D6EEA 2B7C4F4B69 2C3F18B2B6 "
        "2C85967268 2DB6A815C6 3251D3947A 32A947C1C4 32FA10 39571E 3E680A "
        "42BEC4FFB3 4472A6E186 44A01DE66B 4954E65C7E 4C2DB421DF 4CBE91 "
        "51DFD9C2F9 549259 54AB0D12F0 56E1A3A79D 5955E940D3 5D2E21024B "
        "60A9B78D02 63F39DF2DF 6678BD 6741EE71A7 6B9418 70027B3E89 72AAF15A39 "
        "75DC930797 763CBCDE81 79302E0A7E 82E136 87C4069928 8B4217FEA6 "
        "8BD7E00BA9 8CA64D 90618D2379 9211053C55 989846F53E 9DEF401EBC "
        "A235D5585C A3041894FA A8971A592B ACA3722B7E ADC67D AF0B68 B0B563 "
        "B290FA2EA7 B82BB83EA1 BB52ACE5F3 BE9BF0 C33F45 C384829B7E C44D2A1256 "
        "C5961E C610A5A3F9 C9C48A38CA CAAAAF D2B91C D94720C6EB DDB736 "
        "E014EE2544 E18DE2 E1CC69 E2F243 E943B5BA7A EE23D81C34 F25458 "
        "F3966C202D F6C91925B6 F74D6E24B0 F87BE25310 F90BD4 F9F4FB FB1134181D "
        "FE1B058031 FE6DB4 FFFBDE7156 "
    ),
    "a published test vector": (
        "05EF4531EC 08793E25AB 11B651 2331550BC9 2DAF03 2E2D28 2F0EEA "
        "3F43B9613E 410EDFCA2A 48F24D 49548EEE9B 5467D19494 57C409 6FB1C8 "
        "70482AE9CB 7788F657E8 7AD386C376 86A5F0 91F9699AF3 98964FF967 "
        "9E357FBF09 A4A17A ABF549C520 B804EF5075 C016C57811 C2957E4FC6 C41B33 "
        "CCA48E5733 D1D812 DCA506 F07114FD82 F15EE6D7A0 F4C115 F7BAA8 F7D5A0 "
        "FF0BD7C455 "
    ),
}

PUBLISHED: Mapping[str, str] = {
    kcv: origin for origin, values in _CHECK_VALUES.items() for kcv in values.split()
}
"""Where a key with this check value is known from."""


def check_not_published(records: Iterable[KeyRecord]) -> None:
    """Refuse test keys; for production.

    Raises
    ------
    ConfigError
        A key is published or was formed from test values; says which.
    """
    for record in records:
        origin = PUBLISHED.get(record.kcv)
        if record.plan.is_test:
            origin = "test values"
        if origin is not None:
            msg = (
                f"key {record.plan.name} comes from {origin} and is refused in "
                "production; generate or import another one"
            )
            raise ConfigError(msg)
