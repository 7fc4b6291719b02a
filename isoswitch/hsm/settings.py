"""What the crypto process is told: tokens, key file, socket, limits."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

DEFAULT_MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")


class Environment(StrEnum):
    """Whether published test keys may be used."""

    TEST = "test"
    PRODUCTION = "production"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSettings:
    """One PKCS#11 token and the key in it that protects all others.

    ``pin_file`` holds the user PIN in one line and is readable by its owner only.
    ``softhsm_conf`` is what SoftHSM reads instead of its system-wide file.
    """

    label: str
    pin_file: Path
    module: Path = DEFAULT_MODULE
    storage_key: str = "isoswitch-storage-1"
    softhsm_conf: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HsmdSettings:
    """Everything one crypto process is told.

    Every token has a worker process and a socket of its own: the first one ``socket``,
    the next ones the same name with a number. ``ready_file`` is written once all of
    them answer, and removed when they stop. A worker is replaced after it has made
    ``objects_max`` session objects, as SoftHSM never frees the last 230 bytes of one.
    Started as root, workers become ``user``, who alone may connect to the sockets.
    """

    socket: Path
    keys_file: Path
    tokens: tuple[TokenSettings, ...]
    environment: Environment = Environment.TEST
    ready_file: Path | None = None
    connections_max: int = 64
    frame_bytes_max: int = 65_536
    commands_max: int = 16
    write_timeout_s: float = 5.0
    start_timeout_s: float = 20.0
    stop_timeout_s: float = 5.0
    user: str = ""
    objects_max: int = 1_000_000

    @property
    def sockets(self) -> tuple[Path, ...]:
        """The socket of each token's worker.

        Examples
        --------
        >>> token = TokenSettings(label="a", pin_file=Path("pin"))
        >>> settings = HsmdSettings(
        ...     socket=Path("hsmd.sock"), keys_file=Path("k"), tokens=(token, token)
        ... )
        >>> [str(path) for path in settings.sockets]
        ['hsmd.sock', 'hsmd.2.sock']
        """
        others = range(2, len(self.tokens) + 1)
        suffix = self.socket.suffix
        return (
            self.socket,
            *(self.socket.with_suffix(f".{number}{suffix}") for number in others),
        )
