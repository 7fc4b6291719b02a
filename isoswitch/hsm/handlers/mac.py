"""MACs of links and of terminals; the algorithm follows from the key."""

from __future__ import annotations

from isoswitch.codecs.canonical.errors import DecodeError, HsmError, MacMismatch
from isoswitch.hsm.functions import mac
from isoswitch.hsm.functions.mac import MacKey
from isoswitch.hsm.handlers.versions import try_each
from isoswitch.hsm.keys import Purpose
from isoswitch.hsm.keytable import KeyTable
from isoswitch.hsm.port import GenerateMac, VerifyMac
from isoswitch.hsm.splicing import splice
from isoswitch.hsm.terminals import Direction, TerminalKeys


def verify_mac(keys: KeyTable, command: VerifyMac, _last: bytes) -> bytes:
    """Check a MAC; gives the version of a pending or base key that verifies it."""

    def verify(key: MacKey) -> MacKey:
        mac.verify(key, command.data, command.mac)
        return key

    def verify_of_terminal(candidate: tuple[int, TerminalKeys]) -> bytes:
        version, terminals = candidate
        try:
            key = terminals.derive_mac_key(command.ksn, Direction.REQUEST)
        except DecodeError:
            raise MacMismatch("the MAC does not match") from None
        with key:
            mac.verify(key, command.data, command.mac)
        return str(version).encode()

    if command.ksn:
        candidates = list(keys.get_terminal_keys(command.key).items())
        return try_each(candidates, verify_of_terminal)
    used = try_each(keys.get_mac_keys(command.key, Purpose.VERIFY_MAC), verify)
    version = keys.find_pending(used)
    return b"" if version is None else str(version).encode()


def generate_mac(keys: KeyTable, command: GenerateMac, last: bytes) -> bytes:
    """Make a MAC, after putting the last result in its place."""
    data = command.data
    if command.splice is not None:
        data = splice(data, last, command.splice)
    try:
        if not command.ksn:
            key = keys.get_mac_keys(command.key, Purpose.GENERATE_MAC)[0]
            return mac.generate(key, data, length=command.length)
        terminals = keys.get_terminal_version(command.key, command.base_version)
        with terminals.derive_mac_key(command.ksn, Direction.RESPONSE) as key:
            return mac.generate(key, data, length=command.length)
    except DecodeError:
        raise HsmError("no terminal makes this key serial number") from None
    except ValueError as fault:
        raise HsmError(str(fault)) from None
