"""The rule language of simulated counterparties: when a request looks so, do that.

A rule has conditions on canonical fields and a reaction; the first rule whose
conditions all hold decides. Rules are frozen data and have a JSON form::

    {"name": "slow evening",
     "when": {"card": {"op": "equals", "value": "visa-ok"},
              "amount_minor": {"op": "between", "low": 1, "high": 5000}},
     "then": {"delay": {"op": "uniform", "low_s": 0.5, "high_s": 2.0}},
     "chance": 0.1}

The language knows nothing of wire formats except ``Reaction.fields``, so that issuers,
clearing houses and terminals share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from random import Random

import msgspec

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.transaction import Transaction
from isoswitch.simulators.cards import find_card

FieldValue = str | int | bool


class Equals(msgspec.Struct, frozen=True, tag_field="op", tag="equals", kw_only=True):
    """The field has this value."""

    value: FieldValue

    def holds(self, value: FieldValue) -> bool:
        """Tell whether a field's value meets the condition."""
        return value == self.value


class OneOf(msgspec.Struct, frozen=True, tag_field="op", tag="one_of", kw_only=True):
    """The field has one of these values."""

    values: tuple[FieldValue, ...]

    def holds(self, value: FieldValue) -> bool:
        """Tell whether a field's value meets the condition."""
        return value in self.values


class Between(msgspec.Struct, frozen=True, tag_field="op", tag="between", kw_only=True):
    """The field is a number from ``low`` to ``high``, both included."""

    low: int
    high: int

    def holds(self, value: FieldValue) -> bool:
        """Tell whether a field's value meets the condition."""
        return isinstance(value, int) and self.low <= value <= self.high


class StartsWith(
    msgspec.Struct, frozen=True, tag_field="op", tag="starts_with", kw_only=True
):
    """The field is a text with this beginning."""

    prefix: str

    def holds(self, value: FieldValue) -> bool:
        """Tell whether a field's value meets the condition."""
        return isinstance(value, str) and value.startswith(self.prefix)


Condition = Equals | OneOf | Between | StartsWith


class Fixed(msgspec.Struct, frozen=True, tag_field="op", tag="fixed", kw_only=True):
    """Always the same delay."""

    delay_s: float

    def sample_s(self, random: Random) -> float:
        """Draw one delay."""
        del random
        return self.delay_s


class Uniform(msgspec.Struct, frozen=True, tag_field="op", tag="uniform", kw_only=True):
    """Any delay of a range, equally likely."""

    low_s: float
    high_s: float

    def sample_s(self, random: Random) -> float:
        """Draw one delay."""
        return random.uniform(self.low_s, self.high_s)


class Normal(msgspec.Struct, frozen=True, tag_field="op", tag="normal", kw_only=True):
    """Delays around a mean, never negative."""

    mean_s: float
    deviation_s: float

    def sample_s(self, random: Random) -> float:
        """Draw one delay."""
        return max(0.0, random.gauss(self.mean_s, self.deviation_s))


class Spike(msgspec.Struct, frozen=True, tag_field="op", tag="spike", kw_only=True):
    """Mostly a usual delay, and with some chance a much longer one."""

    usual_s: float
    spike_s: float
    chance: float

    def sample_s(self, random: Random) -> float:
        """Draw one delay."""
        return self.spike_s if random.random() < self.chance else self.usual_s


Delay = Fixed | Uniform | Normal | Spike


class Fault(StrEnum):
    """What goes wrong with an answer, after the decision."""

    SILENCE = "silence"
    DUPLICATE = "duplicate"
    GARBAGE = "garbage"
    DISCONNECT = "disconnect"
    AWAY = "away"
    WRONG_ECHO = "wrong_echo"
    WRONG_MAC = "wrong_mac"
    NO_MAC = "no_mac"


class Reaction(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a counterparty does with a request.

    ``code`` None lets the account decide. ``approved_percent`` makes an approval a
    partial one. ``fields`` replaces fields of the answer by number (None removes one).
    ``books`` False means that the request is lost before it is decided: nothing is
    booked and nothing answered. ``away_s`` is how long ``Fault.AWAY`` lasts. With
    ``elsewhere`` the answer goes out on another connection, where there is one.
    """

    code: ResponseCode | None = None
    approved_percent: int | None = None
    delay: Delay | None = None
    fault: Fault | None = None
    fields: Mapping[int, str | None] = {}
    books: bool = True
    away_s: float = 5.0
    elsewhere: bool = False


NORMAL = Reaction()


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When all conditions hold, by chance and at most so often, react like this."""

    name: str
    then: Reaction
    when: Mapping[str, Condition] = {}
    chance: float = 1.0
    times_max: int | None = None

    def __post_init__(self) -> None:
        unknown = sorted(self.when.keys() - FIELDS.keys())
        if unknown:
            msg = f"rule {self.name}: no field {unknown[0]}; known: {', '.join(FIELDS)}"
            raise ValueError(msg)


class RuleBook:
    """Ordered rules with their counters; the first that matches decides.

    Examples
    --------
    >>> from isoswitch.codecs.canonical.codes import Function, Kind
    >>> book = RuleBook(
    ...     [
    ...         Rule(
    ...             name="silent once",
    ...             when={"terminal_id": Equals(value="TERM0001")},
    ...             then=Reaction(fault=Fault.SILENCE),
    ...             times_max=1,
    ...         )
    ...     ],
    ...     random=Random(1),
    ... )
    >>> txn = Transaction(
    ...     kind=Kind.PURCHASE,
    ...     function=Function.REQUEST,
    ...     stan="000001",
    ...     terminal_id="TERM0001",
    ... )
    >>> book.react(txn).fault, book.react(txn).fault
    (<Fault.SILENCE: 'silence'>, None)
    """

    def __init__(self, rules: Iterable[Rule], *, random: Random) -> None:
        self._rules = tuple(rules)
        self._random = random
        self._times = [0] * len(self._rules)
        self._general, self._indexed = _index(self._rules)

    def react(self, transaction: Transaction) -> Reaction:
        """Give the reaction of the first rule that matches, else ``NORMAL``."""
        for place in self._candidates(transaction):
            rule = self._rules[place]
            if self._matches(place, rule, transaction):
                self._times[place] += 1
                return rule.then
        return NORMAL

    def _candidates(self, transaction: Transaction) -> Sequence[int]:
        """Give the rules worth a look, in order: most name one card or amount."""
        found = [
            place
            for name, places in self._indexed.items()
            for place in places.get(FIELDS[name](transaction), ())
        ]
        return sorted(found + self._general) if found else self._general

    def _matches(self, place: int, rule: Rule, transaction: Transaction) -> bool:
        if rule.times_max is not None and self._times[place] >= rule.times_max:
            return False
        if not all(
            condition.holds(FIELDS[name](transaction))
            for name, condition in rule.when.items()
        ):
            return False
        return rule.chance >= 1.0 or self._random.random() < rule.chance


def parse_rules(json_text: str | bytes) -> tuple[Rule, ...]:
    """Read a JSON list of rules.

    Raises
    ------
    ValueError
        Not a list of rules; the message names the place.

    Examples
    --------
    >>> parse_rules('[{"name": "away", "then": {"fault": "silence"}}]')[0].then.fault
    <Fault.SILENCE: 'silence'>
    """
    return msgspec.json.decode(json_text, type=tuple[Rule, ...])


def _card_name(transaction: Transaction) -> str:
    card = find_card(transaction.pan) if transaction.pan else None
    return card.name if card else ""


def _amount_minor(transaction: Transaction) -> int:
    return transaction.amount.minor if transaction.amount else 0


FIELDS: Mapping[str, Callable[[Transaction], FieldValue]] = {
    "kind": lambda txn: txn.kind.value,
    "function": lambda txn: txn.function.value,
    "is_repeat": lambda txn: txn.is_repeat,
    "card": _card_name,
    "bin": lambda txn: txn.pan.leading(8) if txn.pan else "",
    "amount_minor": _amount_minor,
    "currency": lambda txn: txn.amount.currency if txn.amount else "",
    "stan": lambda txn: txn.stan,
    "rrn": lambda txn: txn.rrn,
    "terminal_id": lambda txn: txn.terminal_id,
    "merchant_id": lambda txn: txn.merchant_id,
    # At a clearing house: the account that is to be credited.
    "account": lambda txn: txn.merchant_id,
    "mcc": lambda txn: txn.mcc,
    "acquirer_id": lambda txn: txn.acquirer_id,
    "entry_mode": lambda txn: txn.entry_mode.value,
    "has_pin": lambda txn: txn.pin_block is not None,
}

_INDEXED_FIELDS = ("card", "amount_minor")


def _index(
    rules: Sequence[Rule],
) -> tuple[list[int], dict[str, dict[FieldValue, list[int]]]]:
    """Split the rules by position: those for one card or amount, and the others."""
    general: list[int] = []
    indexed: dict[str, dict[FieldValue, list[int]]] = {}
    for place, rule in enumerate(rules):
        for name in _INDEXED_FIELDS:
            condition = rule.when.get(name)
            if isinstance(condition, Equals):
                by_value = indexed.setdefault(name, {})
                by_value.setdefault(condition.value, []).append(place)
                break
        else:
            general.append(place)
    return general, indexed
