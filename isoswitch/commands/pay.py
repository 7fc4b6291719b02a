"""``isoswitch pay`` and ``trigger``: one terminal, one payment, both messages.

A trigger makes one thing go wrong on purpose. Each is a function in a table; what it
prints ends with the command that shows what the switch made of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from random import SystemRandom
from typing import Any, NoReturn

import trio
from rich.padding import Padding
from rich.text import Text

from isoswitch.codecs.canonical.codes import Function, Kind, ResponseCode
from isoswitch.codecs.canonical.money import parse_money
from isoswitch.codecs.canonical.secrets import Pin
from isoswitch.codecs.iso8583.message import Message
from isoswitch.codecs.qr.render import to_terminal
from isoswitch.commands.console import (
    FAILED,
    OK,
    UNREACHABLE,
    USAGE,
    Failure,
    plain_table,
    print_json,
    stdout,
)
from isoswitch.commands.ends import (
    card_named,
    check_listening,
    make_terminal,
)
from isoswitch.commands.messages import message_table, wire_lines
from isoswitch.commands.running import run_trio
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.simulators.beliefs import Belief
from isoswitch.simulators.requests import INQUIRIES, Request
from isoswitch.simulators.terminal import Answer, Terminal
from isoswitch.switch.flows.payment_code import VALID_S
from isoswitch.switch.job import NAMES_ANOTHER
from isoswitch.switch.numbers import find_transaction_id, to_rrn

AMOUNT_DIGITS_MAX = 12  # of DE 4, minor units included
AMOUNT_AWAY_MINOR = 901_08
WRONG_PIN = Pin("0000")
# How much later than a code ends its terminal is told at the latest.
TOLD_LATE_S = 10.0


@dataclass(slots=True, kw_only=True)
class Printer:
    """Prints exchanges as they happen: for people, or as one JSON object at the end."""

    verbose: bool
    as_json: bool
    steps: list[dict[str, Any]] = field(default_factory=list)
    codes: list[ResponseCode] = field(default_factory=list)

    @property
    def is_approved(self) -> bool:
        """Whether the last answer was an approval."""
        return bool(self.codes) and self.codes[-1].is_approval

    def say(self, text: str) -> None:
        """Print one line of the story."""
        if self.as_json:
            self.steps.append({"note": text})
        else:
            stdout().print(Text(text, style="bold"))

    def message(self, title: str, message: Message) -> None:
        """Print a message, masked; its bytes too when asked to."""
        if self.as_json:
            self.steps.append({"message": title, "fields": message.masked()})
            return
        console = stdout()
        console.print(Text(title, style="bold"))
        console.print(Padding(message_table(message.masked()), (0, 0, 0, 2)))
        if self.verbose:
            lines = Text("\n".join(wire_lines(message)), style="dim")
            console.print(Padding(lines, (1, 0, 0, 2)))
        console.print()

    def outcome(self, answer: Answer) -> None:
        """Print what an answer comes to, and how to see more of it."""
        self.codes.append(answer.outcome.code)
        is_approved = answer.outcome.is_approved
        code = answer.outcome.code.value.replace("_", " ")
        rrn = str(answer.message.get(37, ""))
        transaction_id = find_transaction_id(rrn) or ""
        if self.as_json:
            self.steps.append(
                {
                    "outcome": answer.outcome.code.value,
                    "approved": is_approved,
                    "approval_code": answer.outcome.approval_code,
                    "transaction": transaction_id,
                    "code": answer.outcome.code_text,
                }
            )
            return
        style = "bold green" if is_approved else "bold yellow"
        mark = "✓" if is_approved else "✗"
        console = stdout()
        console.print(Text(f"{mark} {code}", style=style))
        if transaction_id:
            console.print(Text(f"  isoswitch show {transaction_id}", style="dim"))
        text = answer.outcome.code_text
        if text:
            console.print(to_terminal(text), markup=False)
            console.print(f"  isoswitch qr pay '{text}'", markup=False, soft_wrap=True)
            status = f"  isoswitch pay 0 --kind code-status --of {transaction_id}"
            console.print(status, markup=False)

    def told(self, code: ResponseCode) -> None:
        """Print what the switch has told unasked of a code."""
        self.codes.append(code)
        words = "paid" if code.is_approval else code.value.replace("_", " ")
        if self.as_json:
            self.steps.append({"told": code.value, "approved": code.is_approval})
            return
        style = "bold green" if code.is_approval else "bold yellow"
        mark = "✓" if code.is_approval else "✗"
        stdout().print(Text(f"{mark} told by the switch: {words}", style=style))

    def finish(self) -> None:
        """Print what was kept back for the end."""
        if self.as_json:
            print_json({"approved": self.is_approved, "steps": self.steps})


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What a trigger works with."""

    loaded: LoadedNetwork
    terminal: Terminal
    printer: Printer

    async def ask(self, request: Request, title: str = "request") -> Answer:
        """Send a request, print both messages and the outcome.

        Raises
        ------
        Failure
            No answer came; says what became of the reversal.
        """
        self.printer.message(f"{title} → switch", request.message)
        answer = await self.terminal.exchange(request)
        if answer is None:
            await self._reverse(request)
        self.printer.message("switch → answer", answer.message)
        self.printer.outcome(answer)
        return answer

    async def wait_paid(self, shown: Answer) -> None:
        """Wait for the switch to tell what became of a code; ask where it does not."""
        rrn = str(shown.message.get(37, ""))
        with trio.move_on_after(VALID_S + TOLD_LATE_S):
            self.printer.told((await self.terminal.wait_notice(rrn)).code)
            return
        await self.ask(self.terminal.build_code_query(rrn), title="has it been paid")

    async def _reverse(self, request: Request) -> NoReturn:
        reversal = self.terminal.build_reversal(request)
        self.printer.message("reversal → switch", reversal.message)
        answer = await self.terminal.exchange(reversal)
        if answer is None:
            raise Failure(
                "no answer to the payment, nor to its reversal",
                fix="isoswitch tail shows what the switch does",
                exit_code=UNREACHABLE,
            )
        self.printer.message("switch → answer", answer.message)
        raise Failure(
            "no answer to the payment; its reversal was accepted",
            exit_code=UNREACHABLE,
        )

    def purchase(
        self, card_name: str, amount_minor: int = 12_50, *, pin: Pin | None = None
    ) -> Request:
        """Build a purchase with a test card and its PIN, or with another PIN."""
        card = card_named(card_name)
        return self.terminal.build(
            Kind.PURCHASE, card, amount_minor, pin=pin or card.pin
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody types to pay: a kind by its short name, and what it is about.

    ``of`` is the transaction that it acts on; ``cash`` the part of a purchase that is
    paid out; ``is_final`` False says that more completions follow; ``waits`` stays
    until it is known whether a code was paid.
    """

    kind: str
    amount: str
    card: str
    pin: str = ""
    of: str = ""
    cash: str = "0"
    is_final: bool = True
    waits: bool = False

    def check(self) -> None:
        """Check what was typed before anybody is asked; raises Failure."""
        card_named(self.card)
        if self.pin:
            _parse_pin(self.pin)
        if self.kind not in KINDS:
            raise Failure(
                f"there is no kind {self.kind!r}",
                fix=f"one of {', '.join(KINDS)}",
                exit_code=USAGE,
            )
        kind, _ = KINDS[self.kind]
        acts = NAMES_ANOTHER - {Kind.REFUND} | {Kind.CODE_STATUS}
        if kind in acts and not self.of:
            raise Failure(
                f"{self.kind} acts on an earlier transaction",
                fix="name it with --of, such as --of 1-7",
                exit_code=USAGE,
            )
        if self.cash != "0" and kind is not Kind.PURCHASE_WITH_CASHBACK:
            raise Failure(
                f"--cash is no part of {self.kind}",
                fix="pay 20.00 --kind cashback --cash 5.00",
                exit_code=USAGE,
            )
        if self.waits and kind is not Kind.PAYMENT_CODE:
            raise Failure(
                f"--wait is no part of {self.kind}",
                fix="pay 12.50 --kind code --wait",
                exit_code=USAGE,
            )
        if self.of and to_rrn(self.of) is None:
            raise Failure(
                f"{self.of!r} is no transaction", fix="such as 1-7", exit_code=USAGE
            )

    def build(self, terminal: Terminal) -> Request:
        """Build the request of what was checked."""
        currency = terminal.profile.currency
        kind, function = KINDS[self.kind]
        if kind is Kind.PAYMENT_CODE:
            return terminal.build_code_request(_parse_amount(self.amount, currency))
        if kind is Kind.CODE_STATUS:
            return terminal.build_code_query(to_rrn(self.of) or "")
        return terminal.build(
            kind,
            card_named(self.card),
            0 if kind in INQUIRIES else _parse_amount(self.amount, currency),
            pin=_parse_pin(self.pin) if self.pin else None,
            original=self._original(kind) if self.of else None,
            function=function,
            cashback_minor=_parse_amount(self.cash, currency),
            is_final=self.is_final,
        )

    def _original(self, kind: Kind) -> Belief:
        """Name a transaction by our reference alone: another terminal may have it."""
        return Belief(
            terminal_id="",
            kind=kind,
            stan="",
            local_at=datetime.min,  # noqa: DTZ901 another terminal's, and not told
            card=self.card,
            amount=None,
            rrn=to_rrn(self.of) or "",
        )


# What is built for each short name, and whether it asks or tells.
KINDS: Mapping[str, tuple[Kind, Function]] = {
    "purchase": (Kind.PURCHASE, Function.REQUEST),
    "cash": (Kind.CASH_WITHDRAWAL, Function.REQUEST),
    "cashback": (Kind.PURCHASE_WITH_CASHBACK, Function.REQUEST),
    "preauth": (Kind.PREAUTHORISATION, Function.REQUEST),
    "increment": (Kind.INCREMENTAL, Function.REQUEST),
    "complete": (Kind.COMPLETION, Function.REQUEST),
    "complete-advice": (Kind.COMPLETION, Function.ADVICE),
    "offline": (Kind.PURCHASE, Function.ADVICE),
    "void": (Kind.VOID, Function.REQUEST),
    "refund": (Kind.REFUND, Function.REQUEST),
    "balance": (Kind.BALANCE_INQUIRY, Function.REQUEST),
    "statement": (Kind.MINI_STATEMENT, Function.REQUEST),
    "verify": (Kind.ACCOUNT_VERIFICATION, Function.REQUEST),
    "code": (Kind.PAYMENT_CODE, Function.REQUEST),
    "code-status": (Kind.CODE_STATUS, Function.REQUEST),
}


def pay(
    config: Path | None,
    wish: Wish,
    *,
    terminal: str,
    verbose: bool,
    as_json: bool,
) -> int:
    """Pay once; exit code 0 when approved, 1 when declined."""
    loaded = load_network(config)
    wish.check()

    async def pay_once(stage: Stage) -> None:
        answer = await stage.ask(wish.build(stage.terminal))
        if wish.waits and answer.outcome.is_approved:
            await stage.wait_paid(answer)

    printer = Printer(verbose=verbose, as_json=as_json)
    _run(loaded, pay_once, terminal=terminal, printer=printer)
    return OK if printer.is_approved else FAILED


def trigger(
    config: Path | None, *, event: str, terminal: str, verbose: bool, as_json: bool
) -> int:
    """Run one trigger; exit code 0 when the switch reacted as it must."""
    if event == "list":
        table = plain_table("event", "what happens")
        for name, each in TRIGGERS.items():
            table.add_row(name, each.says)
        stdout().print(table)
        return OK
    chosen = TRIGGERS.get(event)
    if chosen is None:
        raise Failure(
            f"there is no event {event!r}",
            fix=f"one of {', '.join(TRIGGERS)}",
            exit_code=USAGE,
        )
    loaded = load_network(config)
    printer = Printer(verbose=verbose, as_json=as_json)
    _run(loaded, chosen.play, terminal=terminal, printer=printer)
    if tuple(printer.codes) != chosen.answers:
        came, expected = ", ".join(printer.codes), ", ".join(chosen.answers)
        raise Failure(f"the switch was to answer {expected}, and answered {came}")
    return OK


def _run(
    loaded: LoadedNetwork,
    play: Callable[[Stage], Awaitable[None]],
    *,
    terminal: str,
    printer: Printer,
) -> None:
    """Connect a terminal, let it play, and disconnect it."""
    made = make_terminal(loaded, terminal)

    async def main() -> None:
        await check_listening(loaded, terminal)
        async with trio.open_nursery() as nursery:
            await nursery.start(made.run)
            await play(Stage(loaded=loaded, terminal=made, printer=printer))
            nursery.cancel_scope.cancel()

    try:
        run_trio(main)
    finally:
        printer.finish()


async def _timeout(stage: Stage) -> None:
    wait_s = stage.loaded.network.timers.issuer_s
    stage.printer.say(f"the issuer approves and stays silent; {wait_s:g} s to wait")
    await stage.ask(stage.purchase("visa-silent"))
    stage.printer.say("the switch declined and owes the issuer a reversal")


async def _late(stage: Stage) -> None:
    wait_s = stage.loaded.network.timers.issuer_s
    stage.printer.say(f"the issuer approves after the switch gave up ({wait_s:g} s)")
    await stage.ask(stage.purchase("visa-late"))
    stage.printer.say("its late approval will be written down, never forwarded")


async def _duplicate(stage: Stage) -> None:
    request = stage.purchase("visa-ok")
    await stage.ask(request)
    repeat = stage.terminal.as_repeat(request)
    await stage.ask(repeat, title="the same again, as a repeat")
    stage.printer.say("one payment at the issuer: the repeat got the stored answer")


async def _wrong_mac(stage: Stage) -> None:
    await stage.ask(stage.terminal.with_wrong_mac(stage.purchase("visa-ok")))


async def _wrong_pin(stage: Stage) -> None:
    await stage.ask(stage.purchase("visa-pin", pin=WRONG_PIN))
    stage.printer.say("the right PIN, before the third wrong one blocks the card")
    await stage.ask(stage.purchase("visa-pin"))


async def _link_down(stage: Stage) -> None:
    stage.printer.say("the issuer takes a request, and goes away for five seconds")
    await stage.ask(stage.purchase("visa-ok", AMOUNT_AWAY_MINOR))
    stage.printer.say("while it is away the next payment is declined at once")
    await stage.ask(stage.purchase("visa-ok"))


async def _garbage(stage: Stage) -> None:
    stage.printer.say("200 random bytes; the switch closes this connection only")
    await stage.terminal.send_garbage(SystemRandom())
    stage.printer.say("the terminal connects again and pays")
    await stage.ask(stage.purchase("visa-ok"))


@dataclass(frozen=True, slots=True)
class Trigger:
    """One thing that can go wrong, how to make it, and the answers that must come."""

    says: str
    play: Callable[[Stage], Awaitable[None]]
    answers: tuple[ResponseCode, ...]


TRIGGERS: Mapping[str, Trigger] = {
    "timeout": Trigger(
        "the issuer stays silent: declined and reversed",
        _timeout,
        (ResponseCode.ISSUER_UNAVAILABLE,),
    ),
    "late": Trigger(
        "the issuer approves too late: not forwarded",
        _late,
        (ResponseCode.ISSUER_UNAVAILABLE,),
    ),
    "duplicate": Trigger(
        "the terminal asks twice: one payment",
        _duplicate,
        (ResponseCode.APPROVED, ResponseCode.APPROVED),
    ),
    "wrong-mac": Trigger(
        "the request was changed on its way: refused",
        _wrong_mac,
        (ResponseCode.SECURITY_VIOLATION,),
    ),
    "wrong-pin": Trigger(
        "the cardholder mistypes the PIN: declined",
        _wrong_pin,
        (ResponseCode.WRONG_PIN, ResponseCode.APPROVED),
    ),
    "link-down": Trigger(
        "the issuer goes away: declined at once",
        _link_down,
        (ResponseCode.ISSUER_UNAVAILABLE, ResponseCode.ISSUER_UNAVAILABLE),
    ),
    "garbage": Trigger(
        "random bytes: that connection closes", _garbage, (ResponseCode.APPROVED,)
    ),
}
"""What can be triggered, by name."""


def _parse_amount(text: str, currency: str) -> int:
    why = f"more than {AMOUNT_DIGITS_MAX} digits hold"
    try:
        minor = parse_money(text, currency).minor
        if len(str(minor)) <= AMOUNT_DIGITS_MAX:
            return minor
    except ValueError as error:
        why = str(error)
    raise Failure(f"{text!r} is {why}", fix="such as 12.50", exit_code=USAGE)


def _parse_pin(text: str) -> Pin:
    if not (4 <= len(text) <= 12 and text.isascii() and text.isdecimal()):
        raise Failure("a PIN has 4 to 12 digits", exit_code=USAGE)
    return Pin(text)
