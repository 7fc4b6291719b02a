"""What runs the payment commands of a network: tokens, or payment HSMs beside them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from isoswitch.config.load import LoadedNetwork
from isoswitch.config.settings import hsmd_settings, payshield_settings
from isoswitch.hsm.client import open_hsm
from isoswitch.hsm.payshield.client import open_payshield
from isoswitch.hsm.payshield.keys import read_unit_keys
from isoswitch.hsm.port import Hsm


@asynccontextmanager
async def open_crypto(loaded: LoadedNetwork) -> AsyncIterator[Hsm]:
    """Connect to the crypto service that a configuration names.

    With payment HSMs the crypto process keeps what they have no command for: sealing
    and hashing what is stored.

    Raises
    ------
    HsmUnavailable
        The crypto process, or every payment HSM, does not answer.
    ConfigError
        The keys of the payment HSMs cannot be read.
    """
    settings, hsms = payshield_settings(loaded), loaded.network.hsm.payshield
    async with open_hsm(*hsmd_settings(loaded).sockets) as tokens:
        if settings is None or hsms is None:
            yield tokens
            return
        keys = read_unit_keys(loaded.file(hsms.keys_file))
        async with open_payshield(settings, keys, data=tokens) as units:
            yield units
