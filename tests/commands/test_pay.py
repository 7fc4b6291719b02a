"""What somebody types to pay, and what is said of it when it cannot be."""

from __future__ import annotations

import pytest

from isoswitch.commands.console import USAGE, Failure
from isoswitch.commands.pay import Wish
from isoswitch.simulators.world import World


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        pytest.param("twelve", "not an amount with at most 2 decimals", id="words"),
        pytest.param("1.234", "not an amount with at most 2 decimals", id="decimals"),
        pytest.param("10000000000", "more than 12 digits hold", id="too much"),
    ],
)
async def test_an_amount_that_cannot_be_is_wrong_usage(amount: str, said: str) -> None:
    terminal = next(iter(World().terminals.values()))
    with pytest.raises(Failure, match=said) as caught:
        Wish(kind="purchase", amount=amount, card="visa-ok").build(terminal)
    assert (caught.value.exit_code, caught.value.fix) == (USAGE, "such as 12.50")


async def test_the_largest_amount_fits_its_field() -> None:
    terminal = next(iter(World().terminals.values()))
    wish = Wish(kind="purchase", amount="9999999999.99", card="visa-ok")
    assert wish.build(terminal).message[4] == "999999999999"


def test_only_who_shows_a_code_waits_for_it() -> None:
    Wish(kind="code", amount="5", card="visa-ok", waits=True).check()
    with pytest.raises(Failure, match="--wait is no part of purchase"):
        Wish(kind="purchase", amount="5", card="visa-ok", waits=True).check()
