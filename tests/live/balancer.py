"""HAProxy by the configuration that we ship, with addresses and ports of a test."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.live.network import ROOT, free_ports

SHIPPED = ROOT / "deploy" / "haproxy.cfg"
PORTAL = 8570
HEALTH = 9011


def write_balancer(
    path: Path, *, hosts: Mapping[int, str], listeners: Mapping[str, int], portal: int
) -> None:
    """Write the configuration for three nodes of two workers.

    ``portal`` is the port of each node's first worker; the second has the next one.
    """
    text = SHIPPED.read_text(encoding="utf-8")
    for name, port in listeners.items():
        (shipped,) = re.findall(
            rf"^frontend {name}\n    bind :(\d+)$", text, re.MULTILINE
        )
        text = text.replace(f"bind :{shipped}\n", f"bind 127.0.0.1:{port}\n")
        text = re.sub(rf":{shipped}\b", f":{port}", text)
    for number in (0, 1):
        text = text.replace(f":{PORTAL + number}\n", f":{portal + number}\n")
    for number, free in enumerate(free_ports(len(hosts))):
        text = text.replace(f"127.0.0.1:{HEALTH + number}\n", f"127.0.0.1:{free}\n")
        text = text.replace(f" port {HEALTH + number}\n", f" port {free}\n")
    for number, host in hosts.items():
        text = text.replace(f"192.0.2.{10 + number}:", f"{host}:")
    # The limit on open files of a test is not that of a service.
    text = re.sub(r"maxconn \d+", "maxconn 1000", text)
    path.write_text(text, encoding="utf-8")
