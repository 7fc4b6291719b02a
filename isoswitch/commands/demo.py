"""``isoswitch demo``: a tour of what can happen to a payment, and an audit of it all.

Crypto process and switch run as they do under ``up``; issuers and the terminal live in
this process, so that at the end the auditor can compare what each side believes. The
tour has a store of its own and begins with an empty one.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import Any

import trio
from rich.text import Text

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.secrets import Pin, ScannedCode
from isoswitch.commands.bank_app import api_client
from isoswitch.commands.console import FAILED, OK, print_json, stdout
from isoswitch.commands.ends import (
    card_named,
    keyring_of,
    make_house,
    make_issuer,
    make_terminal,
    simulators_of,
)
from isoswitch.commands.network import output_folder
from isoswitch.commands.processes import Part, Processes, check_ports_free, parts_of
from isoswitch.commands.running import run_trio
from isoswitch.commands.setup import ensure
from isoswitch.commands.view import leg_json, leg_line
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.journal.records import ChainedRecord, RecordKind
from isoswitch.simulators.api_client import ApiClient
from isoswitch.simulators.auditor import Verdict, audit, read_store
from isoswitch.simulators.beliefs import Belief
from isoswitch.simulators.cards import CARDS
from isoswitch.simulators.clearing_house import ClearingHouse
from isoswitch.simulators.devices import PROFILES
from isoswitch.simulators.issuer import Issuer
from isoswitch.simulators.leaks import Leak, card_secrets, find_clear, key_secrets
from isoswitch.simulators.requests import Request
from isoswitch.simulators.rules import Fixed, Reaction, Rule
from isoswitch.simulators.terminal import Terminal
from isoswitch.simulators.token_service import TokenService
from isoswitch.simulators.wallet import Wallet
from isoswitch.store.reader import open_reader

TERMINAL = "TERM0001"
AMOUNT_MINOR = 12_50
TAP_MINOR = 80_00
THINKS_S = 1.5
HOUSE = "house"
HOUSE_LATE_S = 12.0
AWAY_S = 2.0
PATIENCE_S = 15.0
POLL_S = 0.05
NOTICE_S = 0.2
WRONG_PIN = Pin("0000")


class Unexpected(Exception):
    """A step did not go as it must; says what came instead."""


@dataclass(slots=True, kw_only=True)
class Tour:
    """What the steps of the tour work with."""

    loaded: LoadedNetwork
    folder: Path
    processes: Processes
    terminal: Terminal
    issuers: Mapping[str, Issuer]
    house: ClearingHouse
    notes: list[str] = field(default_factory=list)
    seen_seq: int = 0
    failures: list[str] = field(default_factory=list)
    secrets: dict[str, str | bytes] = field(default_factory=dict)

    @property
    def wallet(self) -> Wallet:
        """The wallet whose shopper shows codes."""
        return next(each for each in self.issuers.values() if isinstance(each, Wallet))

    @property
    def tokens(self) -> TokenService:
        """The token service before the issuer of the telephone's card."""
        issuer = self.issuers["north"]
        if issuer.tokens is None:
            random = SystemRandom()
            issuer.tokens = TokenService(random.randbytes(16), random=random)
        return issuer.tokens

    @property
    def bank(self) -> str:
        """The bank of the payers, for which the switch sends transfers."""
        (house,) = self.loaded.network.houses.values()
        return house.member

    def client(self, name: str) -> ApiClient:
        """Give a client of the API, with the secret that setup has drawn for it."""
        return api_client(self.loaded, name)

    def show_code(self, *, confirms: bool) -> ScannedCode:
        """Let the shopper show a code, and remember to look for it in the output."""
        wallet = self.wallet
        (shopper,) = simulators_of(self.loaded).issuers[wallet.profile.name].shoppers
        shown = wallet.show_code(shopper, confirms=confirms)
        self.secrets[f"code {len(self.secrets)}"] = shown.reveal()
        return shown

    @property
    def store(self) -> Path:
        """The store of the tour."""
        return self.folder / "isoswitch.db"

    def request(self, card_name: str, *, pin: Pin | None = None) -> Request:
        """Build a purchase."""
        card = card_named(card_name)
        return self.terminal.build(
            Kind.PURCHASE, card, AMOUNT_MINOR, pin=pin or card.pin
        )

    async def pay(
        self, card_name: str, expected: ResponseCode, *, pin: Pin | None = None
    ) -> Belief:
        """Pay, and insist on the outcome."""
        belief = await self.terminal.pay(self.request(card_name, pin=pin))
        expect(code_of(belief), expected)
        return belief

    async def wait_record(self, kind: RecordKind) -> None:
        """Wait until a record of this kind has been written since the step began."""
        await wait_until(
            lambda: any(each.record.kind is kind for each in self.new_records()),
            f"record {kind.value}",
        )

    def new_records(self) -> list[ChainedRecord]:
        """Give the records that were written since the step began."""
        with open_reader(self.store) as reader:
            return reader.records(after_seq=self.seen_seq)


Step = Callable[[Tour], Awaitable[None]]


def demo(config: Path | None, *, as_json: bool) -> int:
    """Run the tour; exit code 0 when every step and the audit are as they must be."""
    loaded = load_network(config)
    ensure(loaded)
    check_ports_free(loaded)
    results: list[bool] = []

    async def main() -> None:
        results.append(await _run(loaded, as_json=as_json))

    run_trio(main)
    return OK if results[0] else FAILED


def expect(got: object, expected: object) -> None:
    """Insist on a result.

    Raises
    ------
    Unexpected
        It is another one.
    """
    if got != expected:
        msg = f"expected {expected}, got {got}"
        raise Unexpected(msg)


def code_of(belief: Belief) -> ResponseCode | None:
    """Give what a terminal was told; None when it was told nothing."""
    return belief.outcome.code if belief.outcome else None


async def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait for something that another process does or writes.

    Raises
    ------
    Unexpected
        It does not happen in time.
    """
    with trio.move_on_after(PATIENCE_S):
        while not condition():  # noqa: ASYNC110 (other processes do not tell)
            await trio.sleep(POLL_S)
        return
    msg = f"no {what} in {PATIENCE_S:g} s"
    raise Unexpected(msg)


async def _run(loaded: LoadedNetwork, *, as_json: bool) -> bool:
    folder = output_folder(loaded) / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    tour = Tour(
        loaded=loaded,
        folder=folder,
        processes=Processes(_parts(loaded, folder), folder=folder),
        terminal=make_terminal(loaded, TERMINAL, timeout_s=_patience_s(loaded)),
        issuers={name: make_issuer(loaded, name) for name in _issuer_names(loaded)},
        house=make_house(loaded, HOUSE),
    )
    house = loaded.network.houses[HOUSE]
    async with trio.open_nursery() as nursery:
        for name, issuer in tour.issuers.items():
            row = loaded.network.endpoints[name]
            await nursery.start(_serve_end, issuer, row.host, row.port)
        await nursery.start(_serve_end, tour.house, house.host, house.port)
        try:
            await tour.processes.start("hsmd")
            await tour.processes.start("switch")
            await nursery.start(tour.terminal.run)
            for number, (title, step) in enumerate(STEPS.items(), start=1):
                await _take(tour, f"{number}. {title}", step, as_json=as_json)
            verdict = await _audit(tour)
        finally:
            with trio.CancelScope(shield=True):
                await tour.processes.stop_all()
        nursery.cancel_scope.cancel()
    verdict = _with_leaks(tour, verdict)
    return _conclude(tour, verdict, as_json=as_json)


def _parts(loaded: LoadedNetwork, folder: Path) -> tuple[Part, ...]:
    """Give the processes of the tour; the switch writes into its folder."""
    own = ("--store", str(folder / "isoswitch.db"), "--log", str(folder / "switch.log"))
    return tuple(
        Part(name=part.name, command=(*part.command, *own), opens=part.opens)
        if part.name == "switch"
        else part
        for part in parts_of(loaded)
        if part.name in {"hsmd", "switch"}
    )


def _patience_s(loaded: LoadedNetwork) -> float:
    """Give the shortest time after which a terminal may ask again."""
    timers = loaded.network.timers
    return timers.switch_s + timers.margin_s


def _issuer_names(loaded: LoadedNetwork) -> Iterator[str]:
    yield from simulators_of(loaded).issuers


async def _serve_end(
    end: Issuer | ClearingHouse,
    host: str,
    port: int,
    *,
    task_status: trio.TaskStatus[Any] = trio.TASK_STATUS_IGNORED,
) -> None:
    await end.run(host=host, port=port, task_status=task_status)


async def _take(tour: Tour, title: str, step: Step, *, as_json: bool) -> None:
    """Take one step, and print it with its legs."""
    said = ""
    try:
        with trio.fail_after(2 * PATIENCE_S):
            await step(tour)
    except Unexpected as unexpected:
        said = str(unexpected)
    except trio.TooSlowError:
        said = "it did not end in time"
    records = tour.new_records()
    if records:
        tour.seen_seq = records[-1].seq
    if said:
        tour.failures.append(f"{title}: {said}")
    notes, tour.notes = tour.notes, []
    if as_json:
        legs = [leg_json(record) for record in records]
        told = {"step": title, "ok": not said, "said": said, "legs": legs}
        print_json(told | ({"notes": notes} if notes else {}))
        return
    console = stdout()
    mark = ("✗ ", "bold red") if said else ("✓ ", "bold green")
    console.print(Text.assemble(mark, (title, "bold"), f"  {said}" if said else ""))
    for record in records:
        console.print(Text("  ").append_text(leg_line(record)))
    for note in notes:
        console.print(Text(f"  {note}"))
    console.print()


async def _audit(tour: Tour) -> Verdict:
    """Let what is under way come to rest, then compare all sides."""
    with suppress(Unexpected):
        await wait_until(lambda: _compare(tour).is_settled, "rest")
    return _compare(tour)


def _compare(tour: Tour, leaks: tuple[Leak, ...] = ()) -> Verdict:
    with open_reader(tour.store) as reader:
        view = read_store(reader)
    return audit(
        view=view,
        bookings={name: issuer.bookings for name, issuer in tour.issuers.items()},
        beliefs=tour.terminal.beliefs,
        leaks=leaks,
    )


def _with_leaks(tour: Tour, verdict: Verdict) -> Verdict:
    """Search everything that was written for secrets in clear."""
    secrets: dict[str, str | bytes] = {
        **card_secrets(CARDS.values()),
        **key_secrets(keyring_of(tour.loaded)),
        **tour.secrets,
    }
    leaks = tuple(
        leak
        for path in sorted(tour.folder.iterdir())
        for leak in find_clear(path.read_bytes(), secrets)
    )
    return _compare(tour, leaks) if leaks else verdict


def _conclude(tour: Tour, verdict: Verdict, *, as_json: bool) -> bool:
    is_good = verdict.is_settled and not tour.failures
    if as_json:
        print_json(
            {
                "ok": is_good,
                "compared": verdict.compared,
                "findings": [str(finding) for finding in verdict.findings],
                "pending": list(verdict.pending),
                "failures": tour.failures,
            }
        )
        return is_good
    console = stdout()
    style = "bold green" if is_good else "bold red"
    console.print(Text.assemble(("auditor: ", "bold"), (verdict.describe(), style)))
    for failure in tour.failures:
        console.print(Text(f"  failed  {failure}", style="red"))
    console.print(Text(f"store, log and output: {tour.folder}", style="dim"))
    return is_good


# The steps ---------------------------------------------------------------------------


async def _approved(tour: Tour) -> None:
    await tour.pay("visa-ok", ResponseCode.APPROVED)
    await tour.pay("mc-ok", ResponseCode.APPROVED)


async def _declined(tour: Tour) -> None:
    await tour.pay("visa-insufficient", ResponseCode.INSUFFICIENT_FUNDS)


async def _wrong_pin(tour: Tour) -> None:
    await tour.pay("mc-pin", ResponseCode.WRONG_PIN, pin=WRONG_PIN)


async def _silent(tour: Tour) -> None:
    await tour.pay("mc-silent", ResponseCode.ISSUER_UNAVAILABLE)
    await tour.wait_record(RecordKind.DELIVERED)


async def _late(tour: Tour) -> None:
    await tour.pay("visa-late", ResponseCode.ISSUER_UNAVAILABLE)
    await tour.wait_record(RecordKind.LATE)
    await tour.wait_record(RecordKind.DELIVERED)


async def _duplicate(tour: Tour) -> None:
    request = tour.request("visa-ok")
    first = await tour.terminal.pay(request)
    again = await tour.terminal.exchange(tour.terminal.as_repeat(request))
    assert first.outcome is not None, "the first is answered like any other"
    expect(again and again.outcome.approval_code, first.outcome.approval_code)


async def _wrong_mac(tour: Tour) -> None:
    request = tour.terminal.with_wrong_mac(tour.request("visa-ok"))
    answer = await tour.terminal.exchange(request)
    expect(answer and answer.outcome.is_approved, False)


async def _link_down(tour: Tour) -> None:
    north = tour.issuers["north"]
    north.go_away(AWAY_S)
    await wait_until(lambda: not north.wires, "end of the link")
    await trio.sleep(NOTICE_S)
    await tour.pay("visa-ok", ResponseCode.ISSUER_UNAVAILABLE)


async def _tapped(tour: Tour) -> None:
    device = tour.tokens.enroll(card_named("visa-ok"), PROFILES["apple-pay-like"])
    tour.secrets["number of the telephone"] = device.pan.reveal()
    tap = tour.terminal.build_tap(
        device, TAP_MINOR, random=SystemRandom(), holder_verified=True
    )
    expect(code_of(await tour.terminal.pay(tap)), ResponseCode.APPROVED)


async def _scanned(tour: Tour) -> None:
    shown = tour.show_code(confirms=False)
    for expected in (ResponseCode.APPROVED, ResponseCode.DUPLICATE_TRANSACTION):
        scan = tour.terminal.build_scan(shown, AMOUNT_MINOR)
        expect(code_of(await tour.terminal.pay(scan)), expected)


async def _confirmed(tour: Tour) -> None:
    """Let the shopper say yes while the switch asks again and again."""
    wallet = tour.wallet
    scan = tour.terminal.build_scan(tour.show_code(confirms=True), AMOUNT_MINOR)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tour.terminal.pay, scan)
        await wait_until(lambda: bool(wallet.accounts.waiting), "question to a shopper")
        await trio.sleep(THINKS_S)
        wallet.confirm()
    expect(code_of(tour.terminal.beliefs[-1]), ResponseCode.APPROVED)


async def _pay_code(tour: Tour, expected: str) -> str:
    """Let the grocer make a code and a customer's bank pay it; gives the payment."""
    network = tour.loaded.network
    wish = {"amount_minor": AMOUNT_MINOR, "currency": network.switch.currency}
    code = (await tour.client("grocer").post("/v1/codes", wish)).json()
    (house,) = simulators_of(tour.loaded).houses.values()
    payer = {
        "name": "A. Payer",
        "account": house.accounts[0],
        "bank": tour.bank,
    }
    asked = {"code": code["text"], "payer": payer}
    payment = (await tour.client("bankapp").post("/v1/wallet/pay", asked)).json()
    expect(payment.get("state"), expected)
    return str(payment["id"])


async def _code_paid(tour: Tour) -> None:
    await wait_until(lambda: bool(tour.house.wires), "link to the clearing house")
    await _pay_code(tour, "succeeded")


async def _code_paid_late(tour: Tour) -> None:
    late = Reaction(delay=Fixed(delay_s=HOUSE_LATE_S))
    tour.house.set_rules([Rule(name="late", then=late, times_max=1)])
    await _pay_code(tour, "failed")
    await wait_until(
        lambda: any(each.returned for each in tour.house.payments.values()), "return"
    )
    await trio.sleep(NOTICE_S)


async def _window_closed(tour: Tour) -> None:
    tour.house.close_window()
    positions = tour.house.closed[-1]
    expect(sum(each.amount.minor for each in positions), 0)
    expect({abs(each.amount.minor) for each in positions}, {AMOUNT_MINOR})
    tour.notes += [f"{each.participant}  {each.amount}" for each in positions]


async def _killed(tour: Tour) -> None:
    """Kill the switch when the issuer has approved and the terminal knows nothing."""
    south = tour.issuers["south"].bookings
    before = len(south.entries)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(tour.terminal.pay, tour.request("mc-silent"))
        await wait_until(lambda: len(south.entries) > before, "approval in its books")
        await tour.processes.kill("switch")
        await tour.processes.start("switch")
    expect(tour.terminal.beliefs[-1].approved_minor, 0)
    await tour.wait_record(RecordKind.DELIVERED)


STEPS: Mapping[str, Step] = {
    "approved, at two issuers with different dialects": _approved,
    "declined by the issuer": _declined,
    "wrong PIN": _wrong_pin,
    "a telephone is tapped: the switch knows its number, never the card's": _tapped,
    "a scanned payment code: one payment, once": _scanned,
    "a scanned payment code that the shopper confirms": _confirmed,
    "a merchant's code is paid by instant transfer": _code_paid,
    "a transfer is settled too late: recalled, and returned": _code_paid_late,
    "a settlement window closes: what each bank owes or gets": _window_closed,
    "the issuer approves and stays silent: reversed": _silent,
    "the issuer approves too late: not forwarded, reversed": _late,
    "the terminal asks twice: one payment, the stored answer": _duplicate,
    "the request was changed on its way: refused": _wrong_mac,
    "the link is down: declined at once": _link_down,
    "kill -9 in mid-flight: recovered and reversed": _killed,
}
