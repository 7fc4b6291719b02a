"""The standing rules of simulated issuers: what test cards and test amounts cause.

Amounts of the form 900.NN are refused with the ISO 8583:1987 code NN, amounts from
901.01 on cause a fault, whatever the card; all others are decided by the account.
"""

from __future__ import annotations

from collections.abc import Mapping

from isoswitch.codecs.canonical.codes import Function, Kind
from isoswitch.codecs.dialects.codes import MEANINGS_1987
from isoswitch.simulators.rules import (
    Condition,
    Equals,
    Fault,
    Fixed,
    OneOf,
    Reaction,
    Rule,
)

# Reversals, advices and network messages are never disturbed by these tables: what a
# trigger leaves open must be closable.
_ASKS: Condition = Equals(value=Function.REQUEST.value)
_MONEY: Condition = OneOf(
    values=(
        Kind.PURCHASE.value,
        Kind.CASH_WITHDRAWAL.value,
        Kind.PURCHASE_WITH_CASHBACK.value,
        Kind.PREAUTHORISATION.value,
        Kind.REFUND.value,
    )
)


def standing_rules(*, late_s: float) -> tuple[Rule, ...]:
    """Give the rules of the test cards and the test amounts.

    ``late_s`` is how late a late answer is; it must exceed the switch's timer.
    """
    faults: Mapping[int, tuple[str, Reaction]] = {
        901_01: ("approved, then silent", Reaction(fault=Fault.SILENCE)),
        901_02: ("approved too late", Reaction(delay=Fixed(delay_s=late_s))),
        901_03: ("answered twice", Reaction(fault=Fault.DUPLICATE)),
        901_04: ("wrong MAC in the answer", Reaction(fault=Fault.WRONG_MAC)),
        901_05: ("wrong echo in the answer", Reaction(fault=Fault.WRONG_ECHO)),
        901_06: ("garbage instead of an answer", Reaction(fault=Fault.GARBAGE)),
        901_07: ("approved, then disconnected", Reaction(fault=Fault.DISCONNECT)),
        901_08: ("approved, then away", Reaction(fault=Fault.AWAY)),
        901_09: ("no MAC in the answer", Reaction(fault=Fault.NO_MAC)),
        901_10: ("request lost, nothing booked", Reaction(books=False)),
        901_11: ("half the amount approved", Reaction(approved_percent=50)),
    }
    cards: Mapping[str, Reaction] = {
        "visa-silent": Reaction(fault=Fault.SILENCE),
        "visa-late": Reaction(delay=Fixed(delay_s=late_s)),
        "visa-partial": Reaction(approved_percent=50),
        "visa-duplicate": Reaction(fault=Fault.DUPLICATE),
        "mc-silent": Reaction(fault=Fault.SILENCE),
        "mc-late": Reaction(delay=Fixed(delay_s=late_s)),
        "mc-partial": Reaction(approved_percent=50),
        "mc-duplicate": Reaction(fault=Fault.DUPLICATE),
    }
    return (
        *(
            _amount_rule(f"declined: {words}", 900_00 + int(wire), Reaction(code=code))
            for wire, (code, words) in MEANINGS_1987.items()
            if wire.isdecimal() and not code.is_approval
        ),
        *(
            _amount_rule(name, amount_minor, reaction)
            for amount_minor, (name, reaction) in faults.items()
        ),
        *(
            Rule(
                name=f"card {name}",
                when={"card": Equals(value=name), "kind": _MONEY, "function": _ASKS},
                then=reaction,
            )
            for name, reaction in cards.items()
        ),
    )


def _amount_rule(name: str, amount_minor: int, reaction: Reaction) -> Rule:
    return Rule(
        name=name,
        when={
            "amount_minor": Equals(value=amount_minor),
            "kind": _MONEY,
            "function": _ASKS,
        },
        then=reaction,
    )
