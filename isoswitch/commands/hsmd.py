"""``isoswitch hsmd``: runs the crypto process in the foreground."""

from __future__ import annotations

import trio

from isoswitch.hsm.logs import configure_logs
from isoswitch.hsm.settings import HsmdSettings
from isoswitch.hsm.supervisor import Supervisor


def run_hsmd(settings: HsmdSettings) -> None:
    """Run the crypto process until SIGTERM or SIGINT; SIGHUP reads the keys again.

    One line on standard output and, if named, the ready file tell that it answers.

    Raises
    ------
    ConfigError, HsmError
        Why it cannot start, in one sentence.
    """
    configure_logs()
    ready_file = settings.ready_file

    def on_ready(keys_loaded: int) -> None:
        line = f"hsmd ready socket={settings.socket} keys={keys_loaded}"
        if ready_file is not None:
            ready_file.write_text(line + "\n", encoding="utf-8")
        print(line, flush=True)

    try:
        trio.run(lambda: Supervisor(settings).run(on_ready=on_ready))
    finally:
        if ready_file is not None:
            ready_file.unlink(missing_ok=True)
