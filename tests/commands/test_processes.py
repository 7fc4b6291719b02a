"""What must be free before the processes of a network start."""

from __future__ import annotations

from pathlib import Path

import pytest

from isoswitch.commands.console import Failure
from isoswitch.commands.processes import check_ports_free, parts_of
from isoswitch.config.load import LoadedNetwork, validate
from isoswitch.config.source import parse_source
from isoswitch.switch.sockets import listen_tcp
from tests.config.packaged import PACKAGED

# An address of this machine where nobody else listens.
HERE = "127.77.0.1"
HERE6 = "::1"


def network(*, host: str = HERE, portal: int = 8570) -> LoadedNetwork:
    """Give the packaged network on another host, with another port of its portal."""
    text = PACKAGED.replace("port = 8570", f"port = {portal}")
    text = text.replace("\nport =", f'\nhost = "{host}"\nport =')
    path = Path("network.toml")
    return LoadedNetwork(
        path=path, folder=Path(), network=validate(parse_source(path, text))
    )


def test_free_ports_are_free_in_both_families() -> None:
    check_ports_free(network(), issuers=False)
    check_ports_free(network(host=HERE6), issuers=False)


@pytest.mark.parametrize("host", [HERE, HERE6])
def test_a_taken_port_is_told_with_who_needs_it(host: str) -> None:
    with (
        listen_tcp(host, 8584),
        pytest.raises(Failure, match=r"8584, which \[listeners.bcd\] needs: .* in use"),
    ):
        check_ports_free(network(host=host), issuers=False)


def test_the_port_of_each_workers_portal_has_to_be_free() -> None:
    with (
        listen_tcp(HERE, 8572),
        pytest.raises(Failure, match=r"8572, which \[portal\] needs: .* in use"),
    ):
        check_ports_free(network(), issuers=False, workers=3)


def test_workers_whose_portal_would_meet_a_listener_are_refused() -> None:
    loaded = network(portal=8580)
    check_ports_free(loaded, issuers=False, workers=3)
    with pytest.raises(
        Failure, match=r"worker 4 would have port 8583, which is that of \[listeners.as"
    ):
        check_ports_free(loaded, issuers=False, workers=4)


def test_workers_whose_portal_would_have_no_port_are_refused() -> None:
    with pytest.raises(Failure, match="port 65536, which does not exist"):
        check_ports_free(network(portal=65_535), issuers=False, workers=2)


def test_the_packaged_network_has_room_for_eight_workers() -> None:
    parts = {part.name: part for part in parts_of(network(), workers=8)}
    opens = parts["switch"].opens + parts["issuers"].opens
    assert len(opens) == len(set(opens))
    check_ports_free(network(), workers=8)
