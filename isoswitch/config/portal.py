"""What the portal is told: its clients' keys and secrets, read from their files."""

from __future__ import annotations

from pathlib import Path

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.codecs.canonical.secrets import Secret
from isoswitch.config.load import LoadedNetwork
from isoswitch.config.model import Client
from isoswitch.config.publickey import read_public
from isoswitch.portal.settings import ClientSettings, PortalSettings
from isoswitch.switch.settings import DAY_S

SECRET_BYTES_MIN = 32
READABLE_BY_OTHERS = 0o077


def portal_settings(loaded: LoadedNetwork) -> PortalSettings | None:
    """Give what the portal is told; None when there is none.

    Raises
    ------
    ConfigError
        The file of a secret or of a key is missing, or is not what it should be.
    """
    portal = loaded.network.portal
    if portal is None:
        return None
    tls = portal.tls
    return PortalSettings(
        host=portal.host,
        port=portal.port,
        certificate=None if tls is None else loaded.file(tls.certificate),
        key=None if tls is None else loaded.file(tls.key),
        clients={
            name: _client(loaded, name, client)
            for name, client in portal.clients.items()
        },
        callback_secrets={
            merchant: read_secret(loaded.file(path))
            for merchant, path in portal.callback_secrets.items()
        },
        calls_private=portal.calls_private,
        kept_s=portal.keep_days * DAY_S,
        connections_max=portal.connections_max,
    )


def read_secret(path: Path) -> Secret[bytes]:
    """Read a shared secret; a line feed at its end is none of it.

    Raises
    ------
    ConfigError
        There is none, it is short, or others can read it.
    """
    try:
        mode, value = path.stat().st_mode, path.read_bytes().rstrip(b"\r\n")
    except OSError as fault:
        msg = f"{path} cannot be read: {fault.strerror}; it holds a shared secret"
        raise ConfigError(msg) from None
    if mode & READABLE_BY_OTHERS:
        msg = f"{path} holds a secret and others may read it; chmod 600 it"
        raise ConfigError(msg)
    if len(value) < SECRET_BYTES_MIN:
        msg = f"{path} is shorter than {SECRET_BYTES_MIN} bytes; make one by chance"
        raise ConfigError(msg)
    return Secret(value)


def _client(loaded: LoadedNetwork, name: str, client: Client) -> ClientSettings:
    secret = public = None
    if client.secret_file is not None:
        secret = read_secret(loaded.file(client.secret_file))
    if client.public_key_file is not None:
        public = read_public(loaded.file(client.public_key_file))
    return ClientSettings(
        name=name,
        merchant_id=client.merchant or "",
        terminal_id=client.terminal or "",
        secret=secret,
        public=public or b"",
        **({} if client.per_minute is None else {"per_minute": client.per_minute}),
    )
