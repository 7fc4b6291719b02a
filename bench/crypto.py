"""What the token's work of a purchase costs, beside python-pkcs11 called directly.

Both work in this process with the same SoftHSM. The crypto service finds keys by name,
checks what they may do and compares MACs in constant time; the obvious stack keeps
handles. What the way to another process costs is measured by the part ``hsm``.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

from bench.codec import measure, row_of
from bench.hsm import Commands
from bench.network import ISSUER, TERMINALS, make_network
from bench.obvious import Crypto
from bench.processes import free_ports
from bench.rows import Row
from isoswitch.config.settings import hsmd_settings
from isoswitch.hsm.pkcs11_library import LockingLib
from isoswitch.hsm.port import AnyCommand, GenerateMac
from isoswitch.hsm.token import open_engine, open_service

FOLDER = Path("var/bench")
PAIRS = {
    "verify a terminal's MAC (X9.19)": "terminal_mac",
    "translate a PIN block": "translate_pin",
    "make the issuer's MAC (AES-CMAC)": "issuer_mac",
}


def run(quick: bool) -> list[Row]:
    """Measure and give a row for each operation."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER, prefix="crypto-") as name:
        port, issuer_port = free_ports(2)
        loaded = make_network(Path(name), port=port, issuer_port=issuer_port)
        settings = hsmd_settings(loaded)
        token = settings.tokens[0]
        service = open_service(
            open_engine(token), settings.keys_file, settings.environment
        )
        # The login is the process's, and was made above.
        library = LockingLib(str(token.module))
        session = library.get_token(token_label=token.label).open(rw=True)
        theirs = Crypto(loaded, session)
        commands = Commands(loaded)
        terminal = TERMINALS[0]
        data = commands.verify_request.data
        sign = GenerateMac(key=f"{ISSUER}/zak", data=data)
        ours: tuple[AnyCommand, ...] = (
            commands.verify_request,
            commands.translate,
            sign,
        )
        contestants: dict[str, Callable[[], object]] = {
            what: partial(service.execute, [command])
            for what, command in zip(PAIRS, ours, strict=True)
        }
        contestants |= {
            "terminal_mac": partial(theirs.terminal_mac, terminal, data),
            "translate_pin": partial(
                theirs.translate_pin,
                *(terminal, commands.translate.block, commands.translate.pan),
            ),
            "issuer_mac": partial(theirs.issuer_mac, data),
        }
        costs = measure(contestants, rounds=9 if quick else 31, calls=100)
    return [
        row_of(f"crypto: {what}", costs[what], "python-pkcs11", costs[call], None)
        for what, call in PAIRS.items()
    ]
