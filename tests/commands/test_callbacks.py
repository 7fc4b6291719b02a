"""``isoswitch callbacks``: what merchants must hear, on the screen."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.commands import callback_views
from isoswitch.commands.console import Failure
from isoswitch.config.load import load_network
from isoswitch.store.port import UnitOfWork
from isoswitch.store.rows import Callback, CallbackState, RowMove
from isoswitch.store.sqlite import open_sqlite_store

OWED = Callback(
    id="1-2.succeeded",
    merchant_id="KIOSK",
    transaction_id="1-2",
    body='{"event":"payment.succeeded"}',
    created_at=1_780_315_200.0,
    next_at=1_780_315_202.0,
    expires_at=1_780_401_600.0,
    attempts=1,
    reason="HTTP 503",
)
GIVEN_UP = Callback(
    id="1-3.failed",
    merchant_id="KIOSK",
    transaction_id="1-3",
    body='{"event":"payment.failed"}',
    created_at=1.0,
    next_at=2.0,
    expires_at=3.0,
    state=CallbackState.GIVEN_UP,
)


@pytest.fixture
async def config(tmp_path: Path) -> Path:
    """A configuration with two callbacks in its store."""
    packaged = load_network(None)
    path = tmp_path / "network.toml"
    path.write_text(packaged.path.read_text())
    (tmp_path / "var").mkdir()
    async with open_sqlite_store(tmp_path / "var/isoswitch.db") as store:
        moves = tuple(RowMove(expect=None, row=each) for each in (OWED, GIVEN_UP))
        await store.commit(UnitOfWork(records=(), rows=moves))
    return path


async def test_they_are_listed_with_what_went_wrong(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callback_views.list_callbacks(config, state="", as_json=False) == 0
    told = capsys.readouterr().out
    assert OWED.id in told
    assert "HTTP 503" in told
    assert GIVEN_UP.id in told


async def test_those_of_a_state_are_listed_alone(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    callback_views.list_callbacks(config, state="given_up", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert told["id"] == GIVEN_UP.id


async def test_one_is_shown_with_what_it_says(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callback_views.show(config, OWED.id) == 0
    assert json.loads(capsys.readouterr().out)["body"] == {"event": "payment.succeeded"}


async def test_one_that_is_not_there_is_an_error(config: Path) -> None:
    with pytest.raises(ConfigError, match="no callback"):
        callback_views.show(config, "nothing")


async def test_a_state_that_there_is_not_is_refused(config: Path) -> None:
    with pytest.raises(Failure, match="no state given-up") as refused:
        callback_views.list_callbacks(config, state="given-up", as_json=False)
    assert "given_up" in refused.value.fix
