"""Too much comes at once: refused fast, written down, and nothing else suffers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.hsm.port import AnyCommand, Hsm
from isoswitch.journal.records import RecordKind
from isoswitch.simulators.beliefs import Belief, BeliefState
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.requests import Request
from isoswitch.simulators.rules import Fixed, Reaction, Rule
from isoswitch.simulators.swarm import settle, simulate
from isoswitch.simulators.terminal import Answer
from isoswitch.simulators.world import World
from isoswitch.store.port import TransactionState, UnitOfWork
from isoswitch.switch.door import GATHER_S, TOGETHER_MAX
from isoswitch.switch.settings import SwitchSettings

CARD = get_card("visa-ok")
SEEDS = range(1, 6)
# How long the purchase that fills the network takes: its issuer, and six commits.
FIRST_S = 3.3


def limited(
    settings: SwitchSettings, *, code: ResponseCode, **limits: float
) -> SwitchSettings:
    """Give settings with these limits, and what listeners say when they are reached."""
    return replace(
        settings,
        admission=replace(settings.admission, **limits),
        listeners=tuple(
            replace(each, overload_code=code) for each in settings.listeners
        ),
    )


async def start(
    nursery: trio.Nursery,
    *,
    code: ResponseCode = ResponseCode.SYSTEM_MALFUNCTION,
    **limits: float,
) -> World:
    """Start a network with these limits and an issuer that takes three seconds."""
    world = World(change=lambda settings: limited(settings, code=code, **limits))
    await nursery.start(world.run)
    slow = Rule(name="slow", then=Reaction(delay=Fixed(delay_s=3.0)))
    world.issuers["north"].set_rules([slow])
    return world


async def pay_often(world: World, count: int, *, terminal: str) -> list[Belief]:
    """Pay many times at once at a terminal."""
    async with trio.open_nursery() as customers:
        for _ in range(count):
            customers.start_soon(world.terminals[terminal].purchase, CARD, 100)
    return world.terminals[terminal].beliefs


@pytest.mark.parametrize(
    "code", [ResponseCode.SYSTEM_MALFUNCTION, ResponseCode.ISSUER_UNAVAILABLE]
)
@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"terminal_burst": 4, "terminal_per_s": 0.1}, "asks too often"),
        ({"merchant_in_flight_max": 4}, "of this merchant"),
        ({"in_flight_max": 4}, "too many transactions are in flight"),
    ],
)
async def test_what_exceeds_a_limit_is_declined_and_written_down(
    nursery: trio.Nursery, limits: dict[str, float], reason: str, code: ResponseCode
) -> None:
    world = await start(nursery, code=code, **limits)
    beliefs = await pay_often(world, 10, terminal="TERM0001")
    declined = [each for each in beliefs if each.state is BeliefState.DECLINED]
    assert len(declined) == 6
    assert {each.outcome.code for each in declined if each.outcome} == {code}
    assert {each.sends for each in declined} == {1}
    rows = list(world.disk.transactions.values())
    assert {row.state for row in rows} == {TransactionState.CLOSED}
    assert sum(reason in row.outcome for row in rows) == 6
    assert len(rows) == 10
    verdict = await settle(world)
    assert verdict.is_settled, verdict.describe()


async def test_a_refusal_is_repeated_as_it_was(nursery: trio.Nursery) -> None:
    world = await start(nursery, terminal_burst=1, terminal_per_s=0.1)
    terminal = world.terminals["TERM0001"]
    await terminal.purchase(CARD, 100)
    request = terminal.build(Kind.PURCHASE, CARD, 100)
    refused = await terminal.exchange(request)
    # By now its terminal has a token again, and this is no new request.
    await trio.sleep(60)
    repeated = await terminal.exchange(terminal.as_repeat(request))
    assert refused
    assert repeated
    assert refused.outcome.code is ResponseCode.SYSTEM_MALFUNCTION
    assert repeated.outcome == refused.outcome


async def test_a_reversal_is_taken_from_a_terminal_that_asks_too_often(
    nursery: trio.Nursery,
) -> None:
    world = await start(nursery, terminal_burst=1, terminal_per_s=0.001)
    terminal = world.terminals["TERM0001"]
    belief = await terminal.purchase(CARD, 100)
    assert (await terminal.purchase(CARD, 100)).state is BeliefState.DECLINED
    await terminal.reverse(belief)
    assert belief.state is BeliefState.REVERSED
    assert belief.reversal_sends == 1


async def test_even_what_is_never_refused_has_a_limit(nursery: trio.Nursery) -> None:
    world = await start(nursery, arrivals_max=4)
    terminal = world.terminals["TERM0001"]
    requests = [
        terminal.as_repeat(terminal.build(Kind.PURCHASE, CARD, 100 + number))
        for number in range(7)
    ]
    answers: list[Answer | None] = []

    async def ask(request: Request) -> None:
        answers.append(await terminal.exchange(request))

    async with trio.open_nursery() as repeats:
        for request in requests:
            repeats.start_soon(ask, request)
        await trio.sleep(1)
        assert world.switch is not None
        assert world.switch.counts.unheard == 3
        assert len(world.disk.transactions) == 4
    # They came again, and nothing was refused.
    assert [each is not None and each.outcome.is_approved for each in answers] == (
        [True] * len(requests)
    )


class Keyring:
    """A crypto service in which the keys of one terminal are missing, if any."""

    def __init__(self, hsm: Hsm) -> None:
        self._hsm = hsm
        self.missing = ""
        self.requests: list[int] = []

    async def run(self, *commands: AnyCommand) -> list[bytes]:
        """Run commands, unless one names a missing key."""
        self.requests.append(len(commands))
        if any(getattr(each, "key", "") == self.missing for each in commands):
            msg = "no such key"
            raise KeyRefused(msg)
        return await self._hsm.run(*commands)


class Crowd:
    """A network that takes one request at a time, and what is asked of it at once."""

    def __init__(self, nursery: trio.Nursery, *, per_connection: int = 64) -> None:
        self.nursery = nursery
        self.keyrings: list[Keyring] = []
        self.units: list[UnitOfWork] = []
        self.answers: dict[str, Answer | None] = {}
        self.world = World(
            change=lambda settings: replace(
                full := limited(
                    settings, code=ResponseCode.SYSTEM_MALFUNCTION, in_flight_max=1
                ),
                listeners=tuple(
                    replace(each, in_flight_max=per_connection)
                    for each in full.listeners
                ),
            ),
            wrap_hsm=self._wrap,
            store_delay_s=lambda: 0.05,
        )

    async def start(self) -> None:
        """Start the network, and a purchase that fills it for three seconds."""
        await self.nursery.start(self.world.run)
        self.began_at = trio.current_time()
        slow = Rule(name="slow", then=Reaction(delay=Fixed(delay_s=3.0)))
        self.world.issuers["north"].set_rules([slow])
        self.first = self.build("TERM0001")
        self.ask("TERM0001", self.first)
        await trio.sleep(0.5)
        assert self.world.store is not None
        self.world.store.on_commit(lambda unit, _: self.units.append(unit))
        self.keyrings[0].requests.clear()

    async def sleep_until_answer(self, early_s: float) -> None:
        """Sleep until shortly before the purchase that fills the network ends."""
        await trio.sleep_until(self.began_at + FIRST_S - early_s)

    def build(self, terminal: str) -> Request:
        return self.world.terminals[terminal].build(Kind.PURCHASE, CARD, 100)

    def ask(self, terminal: str, request: Request) -> None:
        """Send a request and keep its answer, or that none came, by trace number."""

        async def exchange() -> None:
            answer = await self.world.terminals[terminal].exchange(request)
            self.answers[terminal + request.transaction.stan] = answer

        self.nursery.start_soon(exchange)

    def _wrap(self, hsm: Hsm) -> Hsm:
        self.keyrings.append(Keyring(hsm))
        return self.keyrings[0]


@pytest.fixture
async def crowd(nursery: trio.Nursery) -> Crowd:
    """A network that is busy already."""
    made = Crowd(nursery)
    await made.start()
    return made


def codes_of(crowd: Crowd, terminal: str) -> list[ResponseCode]:
    answers = [each for name, each in crowd.answers.items() if terminal in name]
    return [each.outcome.code for each in answers if each is not None]


async def test_what_is_turned_away_together_shares_a_unit_and_round_trips(
    crowd: Crowd,
) -> None:
    for _ in range(20):
        crowd.ask("TERM0001", crowd.build("TERM0001"))
    await trio.sleep(1)
    assert codes_of(crowd, "TERM0001") == [ResponseCode.SYSTEM_MALFUNCTION] * 20
    groups = [
        [each for each in unit.records if each.kind is RecordKind.REFUSED]
        for unit in crowd.units
    ]
    refused = [each for group in groups for each in group]
    assert len(refused) == 20
    # How many come before the first look is a matter of scheduling.
    assert len(list(filter(None, groups))) <= 2
    assert sum(crowd.keyrings[0].requests) == 20
    assert max(crowd.keyrings[0].requests) <= TOGETHER_MAX
    assert len({each.transaction_id for each in refused}) == 20
    for each in refused:
        assert each.body["terminal"] == "TERM0001"
        assert each.body["code"] == ResponseCode.SYSTEM_MALFUNCTION
        assert "too many transactions" in each.body["reason"]
        assert "message" not in each.body
    assert len(crowd.world.disk.transactions) == 21
    verdict = await settle(crowd.world)
    assert verdict.is_settled, verdict.describe()


async def test_the_copy_of_a_request_that_is_being_decided_is_not_refused(
    crowd: Crowd,
) -> None:
    """It would contradict the answer that the first one gets."""
    request = crowd.build("TERM0001")
    crowd.ask("TERM0001", request)
    crowd.ask("TERM0002", crowd.build("TERM0002"))
    terminal = crowd.world.terminals["TERM0001"]
    await terminal.send_raw(terminal.frame(crowd.first))
    # And the copy of one that is turned away is turned away.
    await terminal.send_raw(terminal.frame(request))
    await trio.sleep(10)
    assert codes_of(crowd, "TERM0001") == [
        ResponseCode.SYSTEM_MALFUNCTION,
        ResponseCode.APPROVED,
    ]
    assert codes_of(crowd, "TERM0002") == [ResponseCode.SYSTEM_MALFUNCTION]
    assert len(crowd.world.disk.transactions) == 3
    verdict = await settle(crowd.world)
    assert verdict.is_settled, verdict.describe()


async def test_the_copy_of_a_request_that_was_decided_gets_its_answer(
    crowd: Crowd,
) -> None:
    await trio.sleep(5)
    assert codes_of(crowd, "TERM0001") == [ResponseCode.APPROVED]
    crowd.ask("TERM0002", crowd.build("TERM0002"))
    await trio.sleep(0.5)
    # Not marked as a repeat, and too much is in hand again.
    crowd.ask("TERM0001", crowd.first)
    await trio.sleep(1)
    assert codes_of(crowd, "TERM0001") == [ResponseCode.APPROVED]
    kinds = [each.kind for unit in crowd.units for each in unit.records]
    assert RecordKind.REPEATED in kinds
    assert RecordKind.REFUSED not in kinds


@pytest.mark.parametrize("is_marked", [True, False], ids=["a repeat", "a copy"])
async def test_what_was_turned_away_is_turned_away_when_it_comes_again(
    crowd: Crowd, *, is_marked: bool
) -> None:
    """Its terminal may have taken the refusal for its answer by then."""
    terminal = crowd.world.terminals["TERM0002"]
    request = crowd.build("TERM0002")
    crowd.ask("TERM0002", request)
    await trio.sleep(20)
    assert codes_of(crowd, "TERM0002") == [ResponseCode.SYSTEM_MALFUNCTION]
    again = terminal.as_repeat(request) if is_marked else request
    answer = await terminal.exchange(again)
    assert answer is not None
    assert answer.outcome.code is ResponseCode.SYSTEM_MALFUNCTION
    assert len(crowd.world.disk.transactions) == 2
    verdict = await settle(crowd.world)
    assert verdict.is_settled, verdict.describe()


async def test_who_waits_to_be_turned_away_is_let_in_when_a_place_becomes_free(
    crowd: Crowd,
) -> None:
    await crowd.sleep_until_answer(GATHER_S / 2)
    for _ in range(3):
        crowd.ask("TERM0002", crowd.build("TERM0002"))
    await trio.sleep(10)
    assert sorted(codes_of(crowd, "TERM0002")) == [
        ResponseCode.APPROVED,
        *[ResponseCode.SYSTEM_MALFUNCTION] * 2,
    ]
    verdict = await settle(crowd.world)
    assert verdict.is_settled, verdict.describe()


async def test_a_connection_does_not_wait_for_a_round_that_is_over(
    nursery: trio.Nursery,
) -> None:
    """Its second request waits for the first, and finds a place in the switch."""
    crowd = Crowd(nursery, per_connection=1)
    await crowd.start()
    await crowd.sleep_until_answer(GATHER_S + 0.03)
    for _ in range(2):
        crowd.ask("TERM0002", crowd.build("TERM0002"))
    await trio.sleep(10)
    crowd.ask("TERM0002", crowd.build("TERM0002"))
    await trio.sleep(5)
    assert len(codes_of(crowd, "TERM0002")) == 3


async def test_a_connection_does_not_wait_for_a_round_without_anybody(
    crowd: Crowd,
) -> None:
    """What came while others were written down is let in before its own round."""
    await crowd.sleep_until_answer(GATHER_S + 0.03)
    crowd.ask("TERM0001", crowd.build("TERM0001"))
    await trio.sleep(GATHER_S + 0.01)
    crowd.ask("TERM0002", crowd.build("TERM0002"))
    await trio.sleep(10)
    crowd.ask("TERM0002", crowd.build("TERM0002"))
    await trio.sleep(5)
    assert ResponseCode.SYSTEM_MALFUNCTION in codes_of(crowd, "TERM0001")
    assert codes_of(crowd, "TERM0002") == [ResponseCode.APPROVED] * 2


async def test_a_missing_key_silences_only_its_own_terminal(crowd: Crowd) -> None:
    crowd.keyrings[0].missing = "TERM0002/tak"
    for _ in range(3):
        crowd.ask("TERM0001", crowd.build("TERM0001"))
        crowd.ask("TERM0002", crowd.build("TERM0002"))
    await trio.sleep(1)
    assert codes_of(crowd, "TERM0001") == [ResponseCode.SYSTEM_MALFUNCTION] * 3
    assert codes_of(crowd, "TERM0002") == []
    assert crowd.world.switch is not None
    assert crowd.world.switch.counts.unanswered == 3
    crowd.keyrings[0].missing = ""
    await trio.sleep(200)
    # It has repeated, and got what was written down.
    assert codes_of(crowd, "TERM0002") == [ResponseCode.SYSTEM_MALFUNCTION] * 3


async def test_what_cannot_be_written_down_is_not_turned_away(crowd: Crowd) -> None:
    assert crowd.world.store is not None
    crowd.world.store.is_full = True
    crowd.ask("TERM0002", crowd.build("TERM0002"))
    await trio.sleep(1)
    assert codes_of(crowd, "TERM0002") == []
    crowd.world.store.is_full = False
    await trio.sleep(200)
    assert len(codes_of(crowd, "TERM0002")) == 1


async def test_a_reversal_is_taken_however_much_is_in_hand(crowd: Crowd) -> None:
    await trio.sleep(5)
    terminal = crowd.world.terminals["TERM0002"]
    belief = await terminal.purchase(CARD, 100)
    assert belief.state is BeliefState.APPROVED
    crowd.ask("TERM0001", crowd.build("TERM0001"))
    await trio.sleep(0.1)
    await terminal.reverse(belief)
    assert belief.state is BeliefState.REVERSED
    assert belief.reversal_sends == 1


async def test_who_is_turned_away_at_midnight_is_dated_to_the_day_that_is_open(
    crowd: Crowd,
) -> None:
    assert crowd.world.switch is not None
    services = crowd.world.switch.services
    assert services is not None
    crowd.ask("TERM0002", crowd.build("TERM0002"))
    # The cut is on its way to the disk when the moment to gather is over.
    await trio.sleep(GATHER_S - 0.02)
    await services.days.cut(reason="a test")
    await trio.sleep(1)
    assert codes_of(crowd, "TERM0002") == [ResponseCode.SYSTEM_MALFUNCTION]
    (row,) = list(crowd.world.disk.transactions.values())[1:]
    assert row.business_date == "2026-06-02"
    # Its first attempt met the cut; it was decided anew, on the day after.
    assert row.id == "1-3"
    verdict = await settle(crowd.world)
    assert verdict.is_settled, verdict.describe()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_storm_over_a_crowded_switch_loses_and_doubles_nothing(seed: int) -> None:
    def crowded(settings: SwitchSettings) -> SwitchSettings:
        return limited(settings, code=ResponseCode.SYSTEM_MALFUNCTION, in_flight_max=1)

    report = simulate(seed, change=crowded)
    assert report.is_good, f"{report.violations} {report.verdict.describe()}"
    assert report.counts["record refused"]
