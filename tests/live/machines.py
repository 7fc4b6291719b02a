"""Machines of a drill: network namespaces on one bridge, each of which can be parted.

A machine that is parted hears nothing and reaches nobody, and nothing tells either
side: packets go into the void, as when a switch of the network loses a port.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

# Addresses for tests of networks (RFC 2544), which nobody routes.
NET = "198.18"


@dataclass(frozen=True, slots=True)
class Machines:
    """Machines by number, from 1 on; this process is beside the bridge."""

    number: int

    @property
    def here(self) -> str:
        """The address at which the machines reach this process and its like."""
        return self._address(0)

    @property
    def network(self) -> str:
        """The network of all, as ``address/bits``."""
        return f"{NET}.{self.number}.0/24"

    def address(self, machine: int) -> str:
        """Give the address of a machine."""
        return self._address(machine)

    def command(self, machine: int, *command: str) -> tuple[str, ...]:
        """Give the command that runs another one on a machine, as the same process."""
        return ("ip", "netns", "exec", self._space(machine), *command)

    def part(self, machine: int) -> None:
        """Cut a machine off."""
        _ip("link", "set", self._port(machine), "nomaster")

    def rejoin(self, machine: int) -> None:
        """Bring a machine back."""
        _ip("link", "set", self._port(machine), "master", self._bridge)

    def build(self, count: int) -> None:
        """Make the bridge and so many machines."""
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("address", "add", f"{self.here}/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for machine in range(1, count + 1):
            space, port = self._space(machine), self._port(machine)
            _ip("netns", "add", space)
            peer = ("peer", "name", "eth0", "netns", space)
            _ip("link", "add", port, "type", "veth", *peer)
            _ip("link", "set", port, "master", self._bridge, "up")
            address = f"{self.address(machine)}/24"
            _ip("-n", space, "address", "add", address, "dev", "eth0")
            for name in ("lo", "eth0"):
                _ip("-n", space, "link", "set", name, "up")

    def remove(self, count: int) -> None:
        """Remove what is there of machines and bridge."""
        for machine in range(1, count + 1):
            _ip("netns", "delete", self._space(machine), check=False)
        _ip("link", "delete", self._bridge, check=False)

    @property
    def _bridge(self) -> str:
        return f"isw{self.number}"

    def _port(self, machine: int) -> str:
        return f"isw{self.number}p{machine}"

    def _space(self, machine: int) -> str:
        return f"isw{self.number}-{machine}"

    def _address(self, machine: int) -> str:
        return f"{NET}.{self.number}.{10 + machine}"


@contextmanager
def machines(count: int) -> Iterator[Machines]:
    """Give machines, or skip the test where this process may make none."""
    if shutil.which("ip") is None:
        pytest.skip("no ip here: .ci/packages iproute2 installs it")
    made = Machines(os.getpid() % 250)
    try:
        try:
            made.build(count)
        except subprocess.CalledProcessError as refusal:
            pytest.skip(f"no network namespaces here: {refusal.stderr.strip()}")
        yield made
    finally:
        made.remove(count)


def _ip(*arguments: str, check: bool = True) -> None:
    subprocess.run(["ip", *arguments], check=check, capture_output=True, text=True)
