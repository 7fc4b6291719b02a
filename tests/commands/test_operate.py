"""Orders to several workers, of which some refuse or are gone."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from isoswitch.codecs.canonical.errors import (
    ConfigError,
    OrderUnanswered,
    SwitchUnavailable,
)
from isoswitch.commands.console import FAILED, OK
from isoswitch.commands.operate import operator_name, order_one, reload
from isoswitch.config.load import packaged_network
from isoswitch.switch.control import CutDay

DONE = json.dumps({"result": ["a change"], "fault": ""})
DAY = json.dumps({"result": "2026-06-02", "fault": ""})
REFUSED = json.dumps({"result": None, "fault": "only a restart changes it"})
SILENCE = ""
ORDER = CutDay(operator="ann")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Put the packaged network beside a folder for sockets."""
    (tmp_path / "var").mkdir()
    path = tmp_path / "network.toml"
    shutil.copy(packaged_network(), path)
    return path


@contextmanager
def workers(
    config: Path, *answers: str | None, stem: str = "isoswitch"
) -> Iterator[list[str]]:
    """Answer orders as workers do, by what each says; None is one that was killed.

    Gives the numbers of those that were asked.
    """
    asked: list[str] = []
    with ExitStack() as stack:
        for number, answer in enumerate(answers, start=1):
            path = config.with_name("var") / f"{stem}.{number}.control"
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(str(path))
            if answer is None:
                listener.close()
                continue
            listener.listen()
            stack.callback(listener.close)

            def serve(number: int, listener: socket.socket, answer: str) -> None:
                with listener.accept()[0] as connection:
                    connection.recv(4096)
                    asked.append(str(number))
                    connection.sendall(answer.encode())

            threading.Thread(
                target=serve, args=(number, listener, answer), daemon=True
            ).start()
        yield asked


@pytest.mark.parametrize(
    ("answers", "code", "warned"),
    [
        pytest.param((DONE, DONE), OK, "", id="all did it"),
        pytest.param((DONE, REFUSED), FAILED, "worker 2: only a", id="one refused"),
        pytest.param((None, DONE), FAILED, "worker 1: no switch", id="one is gone"),
    ],
)
def test_what_not_all_have_done_is_a_failure(
    config: Path,
    capsys: pytest.CaptureFixture[str],
    answers: tuple[str | None, ...],
    code: int,
    warned: str,
) -> None:
    with workers(config, *answers):
        assert reload(config, operator="ann", dry_run=False, as_json=False) == code
    told = capsys.readouterr()
    assert "a change" in told.out
    assert warned in told.err


def test_what_a_lone_switch_left_behind_takes_no_order_from_workers(
    config: Path,
) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(config.with_name("var") / "isoswitch.control"))
    with workers(config, DONE, DONE) as asked:
        assert reload(config, operator="ann", dry_run=False, as_json=False) == OK
        assert asked == ["1", "2"]


def test_workers_of_a_store_with_dots_in_its_name_are_all_asked(config: Path) -> None:
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("isoswitch.db", "isoswitch-1.2.db"))
    with workers(config, DONE, DONE, DONE, stem="isoswitch-1.2") as asked:
        assert reload(config, operator="ann", dry_run=False, as_json=False) == OK
        assert asked == ["1", "2", "3"]


def test_what_nobody_does_says_why(config: Path) -> None:
    with workers(config, REFUSED, REFUSED), pytest.raises(ConfigError, match="restart"):
        reload(config, operator="ann", dry_run=False, as_json=False)


def test_an_order_goes_past_who_is_gone_and_ends_with_who_takes_it(
    config: Path,
) -> None:
    with workers(config, None, DAY, DAY) as asked:
        assert order_one(config, ORDER, str) == "2026-06-02"
        assert asked == ["2"]


def test_an_order_to_nobody_says_where_none_is(config: Path) -> None:
    with (
        workers(config, None, None),
        pytest.raises(SwitchUnavailable, match=r"takes orders at .*isoswitch\.2"),
    ):
        order_one(config, ORDER, str)


@pytest.mark.parametrize(
    ("first", "fault"), [(REFUSED, ConfigError), (SILENCE, OrderUnanswered)]
)
def test_what_one_has_refused_or_may_have_done_no_other_is_asked(
    config: Path, first: str, fault: type[Exception]
) -> None:
    with workers(config, first, DAY) as asked:
        with pytest.raises(fault):
            order_one(config, ORDER, str)
        assert asked == ["1"]


def test_what_another_has_to_do_is_asked_of_the_next(config: Path) -> None:
    with workers(config, REFUSED, DAY) as asked:
        assert order_one(config, ORDER, str, asks_on=True) == "2026-06-02"
        assert asked == ["1", "2"]


def test_a_user_without_a_name_orders_under_a_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 54_321)
    assert operator_name("") == "uid 54321"
    assert operator_name("mary") == "mary"
