"""The whole of what a switch process is given, read from its file."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.config.model import Portal
from isoswitch.config.routing import load_routing
from isoswitch.config.settings import switch_settings
from isoswitch.switch.differences import Configuration


def load_configuration(path: Path) -> Configuration:
    """Read a file again, as a whole.

    Raises
    ------
    ConfigError
        Something does not hold; says everything, with file and line.
    """
    return configuration_of(load_network(path))


def configuration_of(loaded: LoadedNetwork) -> Configuration:
    """Give what a switch process is told by a network that was loaded.

    Raises
    ------
    ConfigError
        A file that it names is missing or does not hold.
    """
    network = loaded.network
    files = [loaded.path]
    if network.routing.bins_file is not None:
        files.append(loaded.file(network.routing.bins_file))
    files += [
        loaded.file(profile.negative_file)
        for profile in network.stand_in.values()
        if profile.negative_file is not None
    ]
    return Configuration(
        settings=switch_settings(loaded),
        routing=load_routing(loaded),
        lasting={
            "store.path": str(network.store.path),
            "store.url": str(loaded.store if network.store.url else ""),
            "hsm.socket": str(network.hsm.socket),
            "hsm.payshield": str(network.hsm.payshield or "none"),
            "log.path": str(network.log.path or ""),
            "log.level": network.log.level,
            **_portal_facts(network.portal),
            "houses": str(network.houses or "none"),
        },
        digests={str(each): sha256(each.read_bytes()).hexdigest() for each in files},
    )


def _portal_facts(portal: Portal | None) -> dict[str, str]:
    """Give the whole table; of secrets it has the names of their files."""
    if portal is None:
        return {"portal": "none"}
    return {
        "portal": f"{portal.host}:{portal.port}",
        **{
            f"portal.{key}": str(value)
            for key, value in portal
            if key not in {"host", "port"}
        },
    }
