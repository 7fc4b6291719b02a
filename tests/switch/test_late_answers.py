"""A few trace numbers that wrap all the time, and answers that come whenever."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from isoswitch.switch import mux as mux_module
from isoswitch.switch.mux import Mux
from tests.switch.test_mux import PATIENCE_S, Bench, bench, pause

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("ask"), st.integers(1, 3)),
        st.tuples(st.just("answer"), st.integers(0, 30)),
        st.tuples(st.just("wait"), st.sampled_from([1, 4, 7])),
        st.tuples(st.just("lose"), st.integers(0, 1)),
    ),
    max_size=40,
)
Step = tuple[str, int]


async def tell(steps: Sequence[Step], match_fields: Sequence[int]) -> dict[int, str]:
    """Play steps on a mux and give how every request ended."""
    serial = 0
    answered: set[int] = set()
    async with bench(*match_fields) as it:
        for what, number in steps:
            if what == "ask":
                serial += 1
                through = next(
                    (n for n, each in enumerate(it.connections) if each.is_open), 0
                )
                rrn = f"{serial:012}"
                it.ask(serial, stan=number, rrn=rrn, through=through)
            elif what == "answer" and (due := sorted(written(it) - answered)):
                answered.add(due[number % len(due)])
                it.answer(due[number % len(due)])
            elif what == "wait":
                await pause(number)
            elif what == "lose":
                it.connections[number].close("lost")
                it.mux.lose(it.connections[number], "lost", fail_fast=number == 1)
            await pause(0.01)
        await pause(PATIENCE_S + 1)
    assert sorted(it.ends) == sorted(it.asked)
    return it.ends


def written(it: Bench) -> set[int]:
    """Give the requests that the peer may have seen, and so may answer."""
    return {serial for serial in it.asked if it.ends.get(serial) != "LinkDown"}


def play(steps: Sequence[Step], *match_fields: int) -> dict[int, str]:
    """Tell a story under a clock of its own."""
    clock = MockClock(autojump_threshold=0)
    return trio.run(tell, steps, match_fields, clock=clock)


def is_crossed(ends: dict[int, str]) -> bool:
    """Tell whether a request got the answer to another one."""
    return any(
        end not in {"LinkDown", "NoAnswer", f"answer {serial}"}
        for serial, end in ends.items()
    )


class TestLateAnswers:
    """Properties; each example runs under its own clock."""

    @given(steps=STEPS, match_fields=st.sampled_from([(11,), (11, 37)]))
    def test_a_late_answer_never_reaches_another_request(
        self, steps: Sequence[Step], match_fields: Sequence[int]
    ) -> None:
        assert not is_crossed(play(steps, *match_fields))

    @pytest.mark.parametrize("bug", ["no tombstones", "no echo of the reference"])
    def test_the_property_sees_a_planted_bug(
        self, bug: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        late = [("ask", 1), ("wait", 7), ("ask", 1), ("answer", 0)]
        assert not is_crossed(play(late, 11))
        if bug == "no tombstones":
            monkeypatch.setattr(Mux, "_check_unburied", lambda *_: None)
        else:
            monkeypatch.setattr(mux_module, "RRN", 70)
            monkeypatch.setattr(Mux, "_never_returns", lambda _, request: 11 in request)
        assert is_crossed(play(late, 11))
