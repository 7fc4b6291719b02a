"""What a key may be and may do."""

from __future__ import annotations

import msgspec
import pytest

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine
from isoswitch.hsm.functions.ibm3624 import Ibm3624Rule
from isoswitch.hsm.keys import (
    STANDARD_RULE,
    KeyPlan,
    Mode,
    Purpose,
    Role,
    Usage,
    check_value,
)
from tests.hsm.softhsm import plan

OTHER_RULE = Ibm3624Rule(table="9876543210123456", start=4, length=12, pad="0")


@pytest.mark.parametrize(
    ("usage", "mode", "roles"),
    [
        ("P0", "D", (Role.DECRYPT,)),
        ("P0", "E", (Role.ENCRYPT,)),
        ("P0", "B", (Role.DECRYPT, Role.ENCRYPT)),
        ("M1", "C", (Role.ENCRYPT,)),
        ("M3", "V", (Role.SINGLE, Role.ENCRYPT)),
        ("M6", "G", (Role.MAC,)),
        ("B0", "X", (Role.ENCRYPT, Role.VARIANT)),
        ("C0", "V", (Role.SINGLE, Role.ENCRYPT)),
        ("E0", "X", (Role.DERIVE,)),
        ("E2", "X", (Role.MASTER,)),
        ("V2", "V", (Role.ENCRYPT,)),
        ("10", "C", (Role.ENCRYPT,)),
        ("K0", "D", (Role.DECRYPT,)),
        ("K1", "B", (Role.DECRYPT, Role.ENCRYPT, Role.MAC)),
    ],
)
def test_a_key_becomes_the_fewest_objects(
    usage: str, mode: str, roles: tuple[Role, ...]
) -> None:
    assert plan("k", usage, mode).roles == roles


@pytest.mark.parametrize(
    ("usage", "mode", "purposes"),
    [
        ("P0", "D", {Purpose.DECRYPT_PIN}),
        ("P0", "E", {Purpose.ENCRYPT_PIN}),
        ("M3", "C", {Purpose.GENERATE_MAC, Purpose.VERIFY_MAC}),
        ("M3", "G", {Purpose.GENERATE_MAC}),
        ("M3", "V", {Purpose.VERIFY_MAC}),
        ("B0", "X", {Purpose.DERIVE_TRANSACTION_KEYS}),
        ("B1", "X", {Purpose.DERIVE_TRANSACTION_KEYS}),
        ("C0", "V", {Purpose.VERIFY_CARD_VALUE}),
        ("C0", "G", set()),
        ("E0", "X", {Purpose.VERIFY_CRYPTOGRAM}),
        ("E1", "X", set()),
        ("E2", "X", {Purpose.AUTHENTICATE_SCRIPT}),
        ("E4", "X", {Purpose.VERIFY_DYNAMIC_NUMBER}),
        ("V1", "V", {Purpose.VERIFY_OFFSET}),
        ("V2", "C", {Purpose.VERIFY_PVV}),
        ("10", "G", {Purpose.GENERATE_MAC}),
        ("K0", "B", {Purpose.WRAP_KEY, Purpose.UNWRAP_KEY}),
        ("K1", "D", {Purpose.UNWRAP_KEY}),
        ("K1", "E", {Purpose.WRAP_KEY}),
    ],
)
def test_usage_and_mode_permit_only_their_purposes(
    usage: str, mode: str, purposes: set[Purpose]
) -> None:
    key = plan("k", usage, mode)
    assert {purpose for purpose in Purpose if key.may(purpose)} == purposes


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"name": ""}, "name"),
        ({"name": "a|b"}, "name"),
        ({"name": "a" * 65}, "name"),
        ({"mode": Mode.GENERATE}, "mode"),
        ({"usage": Usage.HMAC, "mode": Mode.GENERATE}, "algorithm"),
        ({"length": 8}, "length"),
        ({"algorithm": Algorithm.AES, "length": 20}, "length"),
        ({"usage": Usage.MAC_ALGORITHM_3, "mode": Mode.VERIFY, "length": 24}, "16"),
        ({"mac_padding": 3}, "padding"),
        ({"pin_rule": STANDARD_RULE}, "rule"),
        ({"usage": Usage.DUKPT_BASE, "mode": Mode.DERIVE_KEYS, "length": 24}, "16"),
        ({"usage": Usage.DUKPT_BASE}, "mode"),
        ({"usage": Usage.CARD_VERIFICATION, "algorithm": Algorithm.AES}, "algorithm"),
        ({"usage": Usage.SIGNATURE, "mode": Mode.SIGN}, "algorithm"),
        (
            {
                "usage": Usage.SIGNATURE,
                "mode": Mode.SIGN,
                "algorithm": Algorithm.EC,
                "length": 32,
                "is_exportable": True,
            },
            "exportable",
        ),
    ],
)
def test_a_plan_that_contradicts_itself_is_refused(
    change: dict[str, object], reason: str
) -> None:
    with pytest.raises(KeyRefused, match=reason):
        msgspec.structs.replace(plan("k", "P0", "D"), **change)


def test_every_attribute_is_in_the_header() -> None:
    base = plan("k", "M6", "C", "tdes")
    changes: list[dict[str, object]] = [
        {"name": "l"},
        {"usage": Usage.MAC_ALGORITHM_1},
        {"mode": Mode.VERIFY},
        {"algorithm": Algorithm.AES},
        {"length": 24},
        {"mac_padding": 2},
        {"version": 2},
        {"is_test": True},
        {"is_exportable": True},
        {"usage": Usage.IBM_OFFSET},
        {"usage": Usage.IBM_OFFSET, "pin_rule": STANDARD_RULE},
        {"usage": Usage.IBM_OFFSET, "pin_rule": OTHER_RULE},
    ]
    assert {name for change in changes for name in change} == set(
        KeyPlan.__struct_fields__
    )
    variants = [msgspec.structs.replace(base, **change) for change in changes]
    headers = {variant.header(Role.MAC) for variant in variants}
    headers |= {base.header(Role.MAC), base.header(Role.ENCRYPT)}
    assert len(headers) == len(changes) + 2


@pytest.mark.parametrize(
    ("algorithm", "value", "kcv"),
    [
        # The check value of the best-known test key, as every HSM manual prints it.
        (Algorithm.TDES, "0123456789ABCDEFFEDCBA9876543210", "08D7B4"),
        # AES-CMAC(K, 0^16) of the RFC 4493 key, computed with OpenSSL.
        (Algorithm.AES, "2B7E151628AED2A6ABF7158809CF4F3C", "7AD386C376"),
        # HMAC-SHA-256(K, "") of 32 zero bytes, computed with OpenSSL.
        (Algorithm.HMAC, "00" * 32, "B61367"),
    ],
)
def test_check_values(
    engine: Engine, algorithm: Algorithm, value: str, kcv: str
) -> None:
    given = KeyValue(bytes.fromhex(value))
    assert check_value(engine, given, algorithm).startswith(kcv)
