"""``isoswitch doctor``: what this machine and this folder lack, and how to mend it.

Each probe answers one question and names the fix; all run, and none changes anything.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import apsw

from isoswitch.codecs.canonical.errors import (
    IsoswitchError,
    NoStore,
    StoreUnavailable,
)
from isoswitch.commands.console import FAILED, OK, Failure, print_json, stdout
from isoswitch.commands.processes import check_ports_free
from isoswitch.config.load import LoadedNetwork, load_network
from isoswitch.config.settings import hsmd_settings, switch_settings
from isoswitch.hsm.settings import DEFAULT_MODULE
from isoswitch.hsm.token import open_engine, open_service
from isoswitch.store.inspection import inspect_store

SQLITE_MIN = (3, 51, 3)
DESCRIPTORS_MIN = 1024
SOCKET_PATH_BYTES_MAX = 107
SYNC_MS_MAX = 20.0
SYNC_ROUNDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a probe found: a fact when it is well, a fault and its fix when not."""

    ok: bool
    text: str
    fix: str = ""


Probe = Callable[[LoadedNetwork], Finding]


def doctor(config: Path | None, *, as_json: bool) -> int:
    """Run every probe and print what it found."""
    loaded = load_network(config)
    findings = {name: _run(probe, loaded) for name, probe in PROBES.items()}
    is_well = all(finding.ok for finding in findings.values())
    if as_json:
        probes = [
            {"probe": name, "ok": f.ok, "text": f.text, "fix": f.fix}
            for name, f in findings.items()
        ]
        print_json({"ok": is_well, "probes": probes})
        return OK if is_well else FAILED
    console = stdout()
    for name, finding in findings.items():
        mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
        console.print(f"{mark} {name:<14} {finding.text}", soft_wrap=True)
        if finding.fix:
            console.print(f"  {'':<14} fix: {finding.fix}", soft_wrap=True)
    return OK if is_well else FAILED


def _run(probe: Probe, loaded: LoadedNetwork) -> Finding:
    """Run a probe; a fault of ours is what it found."""
    try:
        return probe(loaded)
    except IsoswitchError as fault:
        fix = getattr(fault, "fix", "") or "isoswitch setup"
        return Finding(ok=False, text=str(fault), fix=fix)
    except OSError as fault:
        what = f"{fault.strerror}: {fault.filename}" if fault.filename else str(fault)
        fix = "run it as the user of the switch, and see that this user may do that"
        return Finding(ok=False, text=what, fix=fix)


def _python(loaded: LoadedNetwork) -> Finding:
    del loaded
    version = ".".join(map(str, sys.version_info[:3]))
    return Finding(
        ok=sys.version_info >= (3, 11),
        text=f"Python {version}",
        fix="" if sys.version_info >= (3, 11) else "install Python 3.11 or newer",
    )


def _softhsm(loaded: LoadedNetwork) -> Finding:
    module = loaded.network.hsm.tokens[0].module or DEFAULT_MODULE
    if module.exists():
        return Finding(ok=True, text=f"PKCS#11 module {module}")
    return Finding(
        ok=False,
        text=f"there is no PKCS#11 module {module}",
        fix="apt-get install softhsm2, or name the module in [[hsm.tokens]]",
    )


def _token(loaded: LoadedNetwork) -> Finding:
    settings = hsmd_settings(loaded)
    for token in settings.tokens:
        engine = open_engine(token)
        open_service(engine, settings.keys_file, settings.environment)
    labels = ", ".join(token.label for token in settings.tokens)
    return Finding(
        ok=True, text=f"token {labels} opens, computes right and takes its keys"
    )


def _certificates(loaded: LoadedNetwork) -> Finding:
    settings = switch_settings(loaded)
    pinned = sum(bool(row.certificate_pin) for row in settings.terminals.values())
    return Finding(ok=True, text=f"{pinned} terminals have certificates")


def _sqlite(loaded: LoadedNetwork) -> Finding:
    del loaded
    version = apsw.sqlite_lib_version()
    ok = tuple(int(part) for part in version.split(".")) >= SQLITE_MIN
    return Finding(
        ok=ok,
        text=f"SQLite {version} (in apsw)",
        fix="" if ok else "make setup (older versions can lose committed writes)",
    )


def _store(loaded: LoadedNetwork) -> Finding:
    place = loaded.store
    try:
        verdict = inspect_store(place)
    except NoStore:
        return Finding(ok=True, text=f"no store {place} yet; the switch makes it")
    except StoreUnavailable as fault:
        fix = "see that [store] names the right one, and that its server runs"
        return Finding(ok=False, text=str(fault), fix=fix)
    if verdict.is_sound:
        count = verdict.chain.last_seq
        return Finding(ok=True, text=f"{place}: {count} records, all sound")
    return Finding(
        ok=False,
        text=f"{place} is not what was written to it",
        fix="isoswitch verify journal tells more; restore the store from its backup",
    )


def _disk(loaded: LoadedNetwork) -> Finding:
    """Time what every commit waits for."""
    folder = loaded.file(loaded.network.store.path).parent
    if not folder.is_dir():
        raise Failure(f"there is no folder {folder}", fix="isoswitch setup")
    with tempfile.NamedTemporaryFile(dir=folder) as file:
        began = time.perf_counter()
        for _ in range(SYNC_ROUNDS):
            file.write(bytes(4096))
            file.flush()
            os.fdatasync(file.fileno())
        sync_ms = (time.perf_counter() - began) * 1000 / SYNC_ROUNDS
    free_mib = shutil.disk_usage(folder).free // 2**20
    ok = sync_ms <= SYNC_MS_MAX and free_mib >= 100
    return Finding(
        ok=ok,
        text=f"a durable write takes {sync_ms:.2f} ms, {free_mib} MiB free",
        fix="" if ok else "put [store] path on a faster or emptier disk",
    )


def _descriptors(loaded: LoadedNetwork) -> Finding:
    del loaded
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    ok = soft >= DESCRIPTORS_MIN
    return Finding(
        ok=ok,
        text=f"{soft} open files allowed",
        fix="" if ok else f"ulimit -n {DESCRIPTORS_MIN} (one per terminal is needed)",
    )


def _socket_path(loaded: LoadedNetwork) -> Finding:
    path = os.fsencode(loaded.file(loaded.network.hsm.socket))
    ok = len(path) <= SOCKET_PATH_BYTES_MAX
    return Finding(
        ok=ok,
        text=f"the path of the crypto process's socket has {len(path)} bytes",
        fix="" if ok else f"set [hsm] socket to {SOCKET_PATH_BYTES_MAX} bytes or less",
    )


def _ports(loaded: LoadedNetwork) -> Finding:
    try:
        check_ports_free(loaded)
    except Failure as fault:
        # A network that runs has its ports open: that is how it should be.
        return Finding(ok=True, text=f"{fault}; the network runs, or something else")
    return Finding(ok=True, text="all ports are free")


PROBES: dict[str, Probe] = {
    "python": _python,
    "softhsm": _softhsm,
    "token": _token,
    "certificates": _certificates,
    "sqlite": _sqlite,
    "store": _store,
    "disk": _disk,
    "open files": _descriptors,
    "socket path": _socket_path,
    "ports": _ports,
}
