"""Keys made, taken and given by a payment HSM; for operators, not for transactions.

Keys travel encrypted under a zone master key in the form of X9.17 (scheme X), which
protects neither their usage nor the order of their parts, so that a key is taken only
with its check value. Each of these commands makes something: none is sent twice.
"""

from __future__ import annotations

import hmac

from isoswitch.codecs.canonical.errors import KeyRefused, VerificationFailed
from isoswitch.hsm.engine import Algorithm
from isoswitch.hsm.keys import KeyPlan, State
from isoswitch.hsm.payshield.client import PayshieldHsm
from isoswitch.hsm.payshield.fields import KEY_BLOCK, Value, Values
from isoswitch.hsm.payshield.keys import UnitKey
from isoswitch.hsm.payshield.layouts import KEY_BLOCK_TYPE, KEY_TYPES, KeyKind

_VARIANT = "U"
_ZONE = "X"


async def generate_key(
    hsm: PayshieldHsm, plan: KeyPlan, kind: KeyKind, *, as_block: bool = False
) -> UnitKey:
    """Have the unit make a double-length TDES key; gives it pending.

    ``as_block`` asks for a key block, which a unit with a key block master key needs.

    Raises
    ------
    KeyRefused
        The plan is for another key than double-length TDES.
    """
    _check_tdes(plan)
    values: dict[str, Value] = {"mode": "0"}
    if as_block:
        values |= {
            "key type": KEY_BLOCK_TYPE,
            "scheme": KEY_BLOCK,
            "usage": plan.usage,
            "algorithm": "T2",
            "mode of use": plan.mode,
            "version": "00",
            "exportability": "E" if plan.is_exportable else "N",
            "optional blocks": "00",
        }
    else:
        values |= {"key type": KEY_TYPES[kind], "scheme": _VARIANT}
    return _record(plan, kind, await hsm.ask("A0", values, is_repeatable=False))


async def import_key(
    hsm: PayshieldHsm,
    plan: KeyPlan,
    kind: KeyKind,
    *,
    zmk: UnitKey,
    cryptogram: bytes,
    check_value: str,
) -> UnitKey:
    """Have the unit take a partner's key under a zone master key; gives it pending.

    Raises
    ------
    VerificationFailed
        The key does not have this check value of six digits.
    KeyRefused
        The plan is for another key than double-length TDES.
    """
    _check_tdes(plan)
    values = {
        "key type": KEY_TYPES[kind],
        "zmk": zmk.wrapped,
        "zone key": _ZONE + cryptogram.hex().upper(),
        "scheme": _VARIANT,
    }
    record = _record(plan, kind, await hsm.ask("A6", values, is_repeatable=False))
    if not hmac.compare_digest(record.kcv.encode(), check_value.upper().encode()):
        raise VerificationFailed("the key does not have this check value")
    return record


async def export_key(
    hsm: PayshieldHsm, key: UnitKey, *, zmk: UnitKey
) -> tuple[bytes, str]:
    """Have the unit encrypt a key for a partner; gives it and its check value.

    Raises
    ------
    KeyRefused
        The key is not exportable.
    """
    if not key.plan.is_exportable:
        raise KeyRefused(f"key {key.plan.name} is not exportable")
    values = {
        "key type": key.key_type,
        "zmk": zmk.wrapped,
        "key": key.wrapped,
        "scheme": _ZONE,
    }
    answer = await hsm.ask("A8", values, is_repeatable=False)
    return bytes.fromhex(_text(answer, "zone key")[1:]), _text(answer, "kcv")


async def read_check_value(hsm: PayshieldHsm, key: UnitKey) -> str:
    """Have the unit compute a key's check value, to see that it holds that key."""
    values = {
        "key length": "F" if key.key_type == KEY_BLOCK_TYPE else "1",
        "key": key.wrapped,
        "key type": key.key_type,
        "kcv type": "1",
    }
    return _text(await hsm.ask("BU", values), "kcv")


def _record(plan: KeyPlan, kind: KeyKind, answer: Values) -> UnitKey:
    return UnitKey(
        plan=plan,
        kind=kind,
        wrapped=_text(answer, "key"),
        kcv=_text(answer, "kcv"),
        state=State.PENDING,
    )


def _check_tdes(plan: KeyPlan) -> None:
    if plan.algorithm is not Algorithm.TDES or plan.length != 16:
        raise KeyRefused(f"key {plan.name}: the unit makes double-length TDES keys")


def _text(answer: Values, name: str) -> str:
    value = answer[name]
    assert isinstance(value, str), "the layout says so"
    return value
