"""What each of several workers is told: the same, but for its name and its own files.

Worker 2 of node ``sw1`` is node ``sw1.2``. All of them share the ports of listeners;
the portal of each has a port of its own, so that health and figures can be asked of
each: that of the configuration for the first, the next one for the second.
"""

from __future__ import annotations

from dataclasses import replace
from glob import escape
from pathlib import Path

from isoswitch.config.running import load_configuration
from isoswitch.portal.settings import PortalSettings
from isoswitch.switch.differences import Configuration


def as_worker(configuration: Configuration, worker: int) -> Configuration:
    """Give a switch's configuration as one of its workers has it."""
    settings = configuration.settings
    return replace(
        configuration,
        settings=replace(
            settings,
            node=f"{settings.node}.{worker}",
            listeners=tuple(
                replace(listener, shares_port=True) for listener in settings.listeners
            ),
            endpoints={
                name: replace(endpoint, shares_port=endpoint.is_server)
                for name, endpoint in settings.endpoints.items()
            },
        ),
    )


def load_worker(path: Path, *, worker: int) -> Configuration:
    """Read a file again, as a whole, for one worker.

    Raises
    ------
    ConfigError
        Something does not hold; says everything, with file and line.
    """
    return as_worker(load_configuration(path), worker)


def portal_of_worker(portal: PortalSettings, worker: int) -> PortalSettings:
    """Give the portal of a worker, which has a port of its own."""
    return replace(portal, port=portal_port(portal.port, worker))


def portal_port(first: int, worker: int) -> int:
    """Give the port of a worker's portal; those of workers follow one another."""
    return first + worker - 1


def worker_path(path: Path, worker: int) -> Path:
    """Give a worker's own file beside that of a switch that is alone.

    Examples
    --------
    >>> worker_path(Path("var/isoswitch.log"), 2).name
    'isoswitch.2.log'
    """
    return path.with_name(f"{path.stem}.{worker}{path.suffix}")


def paths_of_workers(path: Path) -> dict[int, Path]:
    """Give the files that workers have beside that of a switch that is alone."""
    beside = path.parent.glob(f"{escape(path.stem)}.*{path.suffix}")
    numbers = {each.stem.removeprefix(f"{path.stem}."): each for each in beside}
    found = {int(text): each for text, each in numbers.items() if text.isdecimal()}
    return dict(sorted(found.items()))
