"""A transfer moves money once, whatever is heard of it and in whichever order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.clearing.profiles import PROFILES
from isoswitch.clearing.transfer import (
    CHANGES,
    STATUS_EVENTS,
    Effect,
    Event,
    EventRefused,
    Transfer,
    TransferState,
    advance,
    status_event,
    take_return,
)
from isoswitch.codecs.canonical.money import Money

NEW = Transfer(
    id="1-1",
    uetr="8a562c67-ca16-48ba-b074-65581be6f001",
    message_id="M1",
    end_to_end_id="E1",
    endpoint="house",
    amount=Money(1000, "978"),
    debtor_agent="BANKA",
    creditor_agent="BANKB",
    merchant_id="KIOSK0000000001",
    created_at="2026-06-01T12:00:00.000000Z",
    expires_at=10.0,
)


def tell(*events: Event) -> tuple[Transfer, list[Effect]]:
    """Follow a story from the beginning."""
    transfer, effects = NEW, list[Effect]()
    for event in events:
        if event is Event.RETURNED:
            transfer, more = take_return(transfer, transfer.amount, return_id="R1")
        else:
            transfer, more = advance(transfer, event)
        effects += more
    return transfer, effects


@pytest.mark.parametrize(
    ("story", "state", "effects"),
    [
        pytest.param(
            "sending progress settled",
            TransferState.SETTLED,
            "capture tell_paid",
            id="paid",
        ),
        pytest.param(
            "sending rejected",
            TransferState.REJECTED,
            "release tell_failed",
            id="rejected",
        ),
        pytest.param(
            "sending not_written",
            TransferState.REJECTED,
            "release tell_failed",
            id="never written",
        ),
        pytest.param(
            "expired",
            TransferState.REJECTED,
            "release tell_failed",
            id="expired before it was sent",
        ),
        pytest.param(
            "sending expired asked rejected",
            TransferState.REJECTED,
            "tell_failed ask_status release",
            id="silent, then rejected",
        ),
        pytest.param(
            "sending expired asked never_received",
            TransferState.REJECTED,
            "tell_failed ask_status release",
            id="silent, never received",
        ),
        pytest.param(
            "sending expired settled recall_agreed returned",
            TransferState.RETURNED,
            "tell_failed ask_status capture_for_recall recall give_back",
            id="late, recalled, returned",
        ),
        pytest.param(
            "sending expired settled recall_refused",
            TransferState.RECALL_REFUSED,
            "tell_failed ask_status capture_for_recall recall alarm",
            id="late, recall refused",
        ),
        pytest.param(
            "sending expired settled recall_refused returned",
            TransferState.RETURNED,
            "tell_failed ask_status capture_for_recall recall alarm give_back",
            id="late, refused and returned after all",
        ),
        pytest.param(
            "sending held settled",
            TransferState.SETTLED,
            "tell_paid ask_status capture",
            id="accepted without posting, then credited",
        ),
        pytest.param(
            "sending held rejected returned",
            TransferState.RETURNED,
            "tell_paid ask_status capture ask_status give_back",
            id="accepted without posting, then returned",
        ),
        pytest.param(
            "sending settled rejected",
            TransferState.SETTLED,
            "capture tell_paid alarm",
            id="a rejection after settlement is an alarm",
        ),
        pytest.param(
            "sending rejected settled",
            TransferState.REJECTED,
            "release tell_failed alarm",
            id="a settlement after rejection is an alarm",
        ),
        pytest.param(
            "sending returned settled expired",
            TransferState.RETURNED,
            "capture_for_recall give_back tell_failed",
            id="returned before anybody said that it was settled",
        ),
        pytest.param(
            "sending settled settled expired",
            TransferState.SETTLED,
            "capture tell_paid",
            id="told twice",
        ),
    ],
)
def test_each_story_ends_as_it_must(
    story: str, state: TransferState, effects: str
) -> None:
    transfer, happened = tell(*map(Event, story.split()))
    assert transfer.state is state
    assert happened == [Effect(each) for each in effects.split()]


def test_a_transfer_in_doubt_is_asked_for_again_and_never_sent_again() -> None:
    transfer, effects = tell(Event.SENDING, Event.EXPIRED, Event.ASKED, Event.EXPIRED)
    assert effects.count(Effect.ASK_STATUS) == 2
    with pytest.raises(EventRefused):
        advance(transfer, Event.SENDING)


@pytest.mark.parametrize(
    "amount", [Money(1001, "978"), Money(0, "978"), Money(1000, "840")]
)
def test_no_more_comes_back_than_is_out(amount: Money) -> None:
    settled, _ = tell(Event.SENDING, Event.SETTLED)
    with pytest.raises(EventRefused):
        take_return(settled, amount, return_id="R1")


def test_a_part_may_come_back_and_then_the_rest() -> None:
    settled, _ = tell(Event.SENDING, Event.SETTLED)
    partly, first = take_return(settled, Money(400, "978"), return_id="R1")
    wholly, second = take_return(partly, Money(600, "978"), return_id="R2")
    assert (partly.returned_minor, wholly.returned_minor) == (400, 1000)
    assert first == second == (Effect.GIVE_BACK,)
    with pytest.raises(EventRefused):
        take_return(wholly, Money(1, "978"), return_id="R3")


@pytest.mark.parametrize(
    ("story", "told"),
    [
        pytest.param((Event.SENDING,), (Effect.TELL_FAILED,), id="sent"),
        pytest.param((Event.SENDING, Event.EXPIRED), (), id="in doubt"),
    ],
)
def test_of_a_part_that_overtakes_the_settlement_the_rest_is_recalled(
    story: tuple[Event, ...], told: tuple[Effect, ...]
) -> None:
    unsettled, _ = tell(*story)
    partly, effects = take_return(unsettled, Money(400, "978"), return_id="R1")
    assert (partly.state, partly.returned_minor) == (TransferState.RECALLING, 400)
    assert effects == (
        Effect.CAPTURE_FOR_RECALL,
        Effect.GIVE_BACK,
        Effect.RECALL,
        *told,
        Effect.ALARM,
    )
    assert advance(partly, Event.SETTLED) == (partly, ())
    wholly, rest = take_return(partly, Money(600, "978"), return_id="R2")
    assert (wholly.state, wholly.returned_minor) == (TransferState.RETURNED, 1000)
    assert rest == (Effect.GIVE_BACK,)


def test_the_same_return_again_gives_nothing_more_back() -> None:
    settled, _ = tell(Event.SENDING, Event.SETTLED)
    partly, _ = take_return(settled, Money(400, "978"), return_id="R1")
    assert take_return(partly, Money(400, "978"), return_id="R1") == (partly, ())


def test_an_unknown_status_decides_nothing() -> None:
    assert status_event("WHAT") is Event.PROGRESS


def test_a_status_that_is_known_means_what_the_table_says() -> None:
    assert {status_event(code) for code in STATUS_EVENTS} == {
        Event.PROGRESS,
        Event.HELD,
        Event.SETTLED,
        Event.REJECTED,
        Event.BLOCKED,
    }


def test_what_nobody_asked_for_was_rejected_and_not_unknown() -> None:
    transfer, _ = tell(Event.SENDING, Event.NEVER_RECEIVED)
    assert transfer.state is TransferState.REJECTED


@given(st.lists(st.sampled_from(Event), max_size=25))
def test_money_moves_once_in_any_order_of_events(events: list[Event]) -> None:
    transfer = NEW
    effects: list[Effect] = []
    for event in events:
        try:
            if event is Event.RETURNED:
                transfer, more = take_return(
                    transfer,
                    Money(transfer.amount.minor, "978"),
                    return_id=f"R{len(effects)}",
                )
            else:
                transfer, more = advance(transfer, event)
        except EventRefused:
            continue
        effects += more
    captured = effects.count(Effect.CAPTURE) + effects.count(Effect.CAPTURE_FOR_RECALL)
    released = effects.count(Effect.RELEASE)
    given_back = effects.count(Effect.GIVE_BACK)
    assert captured + released <= 1
    assert given_back <= captured
    assert effects.count(Effect.TELL_PAID) + effects.count(Effect.TELL_FAILED) <= 1
    if Effect.TELL_FAILED in effects:
        # Who was told that nothing was paid keeps his money, or gets it back.
        assert Effect.CAPTURE not in effects
    if Effect.CAPTURE_FOR_RECALL in effects and Effect.GIVE_BACK not in effects:
        assert transfer.state in {
            TransferState.RECALLING,
            TransferState.RECALL_REFUSED,
            TransferState.RETURN_DUE,
        }


def test_every_state_but_the_first_is_reached_by_the_table() -> None:
    reached = {state for state, _ in CHANGES.values()}
    assert reached == set(TransferState) - {TransferState.CREATED}


@pytest.mark.parametrize("name", PROFILES)
def test_the_receiver_must_be_done_before_the_whole(name: str) -> None:
    profile = PROFILES[name]
    assert 0 < profile.receiver_s < profile.total_s
