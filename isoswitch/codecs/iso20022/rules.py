"""Rules of business that a schema cannot say, each with a name and a reason code.

A message that follows its schema may still promise three payments and hold two. The
rules are held to what is read and to what is sent; they look at typed messages only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from decimal import Decimal
from typing import Any, Final

from isoswitch.codecs.canonical.money import CURRENCIES, Money
from isoswitch.codecs.iso20022.administration import BusinessHeader
from isoswitch.codecs.iso20022.initiation import Initiation
from isoswitch.codecs.iso20022.transfers import (
    CustomerTransfer,
    InstitutionTransfer,
    PaymentReturn,
    PaymentReversal,
    SettlementRequest,
    StatusReport,
)
from isoswitch.codecs.iso20022.values import Account, Agent, Party

_UETR: Final = re.compile(
    r"[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}"
)
_IBAN: Final = re.compile(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}")
_LEI: Final = re.compile(r"[A-Z0-9]{18}[0-9]{2}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Breach:
    """A rule that a message breaks; ``code`` is of the list of status reasons."""

    rule: str
    code: str
    words: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: its name, the code of its breach, its words, and whether it holds."""

    name: str
    code: str
    words: str
    holds: Callable[[Any], bool]


def find_breaches(message: Any) -> tuple[Breach, ...]:
    """Give every rule that a message breaks; nothing where none is broken."""
    rules = (*EVERY_MESSAGE, *RULES.get(type(message), ()))
    return tuple(
        Breach(rule=rule.name, code=rule.code, words=rule.words)
        for rule in rules
        if not rule.holds(message)
    )


def find_header_breaches(
    header: BusinessHeader, *, message_id: str, message_name: str
) -> tuple[Breach, ...]:
    """Give where a header does not agree with the message it goes before.

    Parameters
    ----------
    message_id
        What the message calls itself.
    message_name
        The identifier in the namespace of the message.
    """
    told = (
        (
            "header-message-id",
            header.message_id == message_id,
            "BizMsgIdr is not MsgId",
        ),
        (
            "header-message-name",
            header.message_name == message_name,
            "MsgDefIdr is not the message that follows",
        ),
    )
    return tuple(
        Breach(rule=name, code="FF01", words=words)
        for name, holds, words in told
        if not holds
    )


def is_iban(text: str) -> bool:
    """Whether the check digits of an account number agree (ISO 13616, ISO 7064).

    Examples
    --------
    >>> is_iban("DE89370400440532013000"), is_iban("DE88370400440532013000")
    (True, False)
    """
    upper = text.upper()
    return _IBAN.fullmatch(upper) is not None and _is_mod_97(upper[4:] + upper[:4])


def is_lei(text: str) -> bool:
    """Whether the check digits of a legal entity identifier agree (ISO 17442).

    Examples
    --------
    >>> is_lei("529900T8BM49AURSDO55"), is_lei("529900T8BM49AURSDO56")
    (True, False)
    """
    return _LEI.fullmatch(text) is not None and _is_mod_97(text)


def is_uetr(text: str) -> bool:
    """Whether this is a random UUID in small letters, as a UETR is (RFC 4122).

    Examples
    --------
    >>> is_uetr("00000000-0000-4000-8000-000000000000"), is_uetr("4711")
    (True, False)
    """
    return _UETR.fullmatch(text) is not None


def _is_mod_97(text: str) -> bool:
    return int("".join(str(int(each, 36)) for each in text)) % 97 == 1


def _inside(value: Any) -> Iterator[Any]:
    """Give a value and all values in it."""
    yield value
    if isinstance(value, tuple):
        for each in value:
            yield from _inside(each)
    elif is_dataclass(value):
        for field in fields(value):
            yield from _inside(getattr(value, field.name))


def _all(kind: type[Any], holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda message: all(
        holds(each) for each in _inside(message) if isinstance(each, kind)
    )


def _uetrs(message: Any) -> list[str]:
    return [each for value in _inside(message) if (each := getattr(value, "uetr", ""))]


def _is_exact(amount: Money) -> bool:
    return amount.currency in CURRENCIES and amount.minor >= 0


def _decimal(amount: Money) -> Decimal:
    return Decimal(amount.minor).scaleb(-CURRENCIES[amount.currency][1])


def _count_is(items: str) -> Callable[[Any], bool]:
    return lambda message: message.count == len(getattr(message, items))


def _sum_is(items: str, amount: str) -> Callable[[Any], bool]:
    def holds(message: Any) -> bool:
        amounts = [getattr(each, amount) for each in getattr(message, items)]
        return message.control_sum in {None, sum(map(_decimal, amounts))}

    return holds


def _total_is(items: str, amount: str) -> Callable[[Any], bool]:
    def holds(message: Any) -> bool:
        amounts = [getattr(each, amount) for each in getattr(message, items)]
        currencies = {each.currency for each in amounts}
        if message.total is None:
            return True
        total = sum(each.minor for each in amounts)
        return currencies == {message.total.currency} and total == message.total.minor

    return holds


def _has_one_date(items: str) -> Callable[[Any], bool]:
    """Whether the settlement date stands in the header or at every item, not both."""

    def holds(message: Any) -> bool:
        dates = [each.settlement_date for each in getattr(message, items)]
        if message.settlement_date is not None:
            return not any(dates)
        return all(dates)

    return holds


def _is_positive(items: str, amount: str) -> Callable[[Any], bool]:
    return lambda message: all(
        getattr(each, amount).minor > 0 for each in getattr(message, items)
    )


def _group(items: str, amount: str) -> tuple[Rule, ...]:
    """Give the rules of a message that counts and sums its items."""
    return (
        Rule("count", "AM18", "NbOfTxs is not what is there", _count_is(items)),
        Rule("control-sum", "AM10", "CtrlSum is not the sum", _sum_is(items, amount)),
        Rule("total", "AM10", "the total is not the sum", _total_is(items, amount)),
        Rule("positive", "AM01", "an amount of zero", _is_positive(items, amount)),
        Rule(
            "settlement-date",
            "DT01",
            "IntrBkSttlmDt once: in the header or at every transaction",
            _has_one_date(items),
        ),
    )


def _gives_reasons(report: StatusReport) -> bool:
    return all(each.reasons for each in report.statuses if each.status == "RJCT")


def _returns_a_part(message: PaymentReturn) -> bool:
    return all(
        each.returned_amount.currency == each.original_amount.currency
        and each.returned_amount.minor <= each.original_amount.minor
        for each in message.returns
        if each.original_amount is not None
    )


def _is_zero_sum(message: SettlementRequest) -> bool:
    for settlement in message.settlements:
        sums: dict[str, int] = {}
        for each in settlement.movements:
            signed = each.amount.minor if each.is_credit else -each.amount.minor
            currency = each.amount.currency
            sums[currency] = sums.get(currency, 0) + signed
        if any(sums.values()):
            return False
    return True


def _counts_movements(message: SettlementRequest) -> bool:
    return message.count == len(message.settlements) and all(
        each.count in {None, len(each.movements)} for each in message.settlements
    )


def _counts_orders(message: Initiation) -> bool:
    return message.count == sum(len(group.orders) for group in message.groups) and all(
        group.count in {None, len(group.orders)} for group in message.groups
    )


def _sums_orders(message: Initiation) -> bool:
    sums = [
        sum(_decimal(each.amount) for each in group.orders if each.amount)
        for group in message.groups
    ]
    return message.control_sum in {None, sum(sums)} and all(
        group.control_sum in {None, total}
        for group, total in zip(message.groups, sums, strict=True)
    )


EVERY_MESSAGE: Final[Sequence[Rule]] = (
    Rule(
        "iban",
        "AC01",
        "the check digits of an IBAN do not agree",
        _all(Account, lambda account: not account.iban or is_iban(account.iban)),
    ),
    Rule(
        "lei",
        "RC01",
        "the check digits of an LEI do not agree",
        _all(Agent | Party, lambda party: not party.lei or is_lei(party.lei)),  # type: ignore[arg-type]
    ),
    Rule(
        "uetr",
        "FF01",
        "a UETR is no random UUID",
        lambda message: all(map(is_uetr, _uetrs(message))),
    ),
    Rule(
        "uetr-once",
        "DU03",
        "a UETR is there twice",
        lambda message: len(_uetrs(message)) == len(set(_uetrs(message))),
    ),
    Rule(
        "currency", "AM03", "no known currency, or below zero", _all(Money, _is_exact)
    ),
)
RULES: Final[Mapping[type[Any], Sequence[Rule]]] = {
    CustomerTransfer: _group("transfers", "amount"),
    InstitutionTransfer: _group("transfers", "amount"),
    PaymentReturn: (
        *_group("returns", "returned_amount"),
        Rule("part", "AM09", "more is returned than was sent", _returns_a_part),
    ),
    PaymentReversal: _group("reversals", "reversed_amount"),
    StatusReport: (
        Rule("reason", "FF01", "a rejection without a reason", _gives_reasons),
    ),
    SettlementRequest: (
        Rule("count", "AM18", "not as many as is told", _counts_movements),
        Rule("zero-sum", "AM10", "the movements are not zero in sum", _is_zero_sum),
    ),
    Initiation: (
        Rule("count", "AM18", "NbOfTxs is not what is there", _counts_orders),
        Rule("control-sum", "AM10", "CtrlSum is not the sum", _sums_orders),
    ),
}
