"""How links are shown."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from isoswitch.commands.links import STYLES, link_table
from isoswitch.switch.linkstate import LinkState, LinkStatus

WELL = LinkStatus(
    endpoint="north",
    role="client",
    state=LinkState.SIGNED_ON,
    since="2026-06-01T12:00:00.000000Z",
    reason="signed on",
    connections=2,
    signed_on=2,
    in_flight=3,
    last_echo_at="2026-06-01T12:00:30.123456Z",
    echo_ms=1.25,
    strays=0,
    undecodable=0,
    unexpected=0,
    refused_peers=0,
    mac_failures=0,
)


def shown(status: LinkStatus) -> list[str]:
    """Give the line of one link, as its words."""
    console = Console(width=200)
    with console.capture() as capture:
        console.print(link_table([status]))
    return capture.get().splitlines()[1].split("  ")


def test_a_link_that_is_well_says_so_and_nothing_else() -> None:
    words = [word.strip() for word in shown(WELL) if word.strip()]
    assert words == [
        *("north", "signed_on", "06-01 12:00:00", "signed on"),
        *("2/2", "3", "06-01 12:00:30, 1.25 ms"),
    ]


def test_a_link_tells_who_halts_it_and_what_was_wrong() -> None:
    status = replace(
        WELL,
        state=LinkState.SUSPENDED,
        reason="not frames: [red]",
        halted_by=["operator", "partner"],
        last_echo_at="",
        strays=2,
        refused_peers=1,
    )
    line = "  ".join(shown(status))
    assert "suspended by operator, partner" in line
    assert "not frames: [red]" in line
    assert "2 strays, 1 strangers" in line
    assert " ms" not in line


def test_every_state_has_a_style() -> None:
    assert set(STYLES) == set(LinkState)
