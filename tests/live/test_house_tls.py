"""A clearing house over real sockets with TLS: HTTPS and frames, right and wrong."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random

import pytest
import trio

from isoswitch.codecs.canonical.errors import LinkDown
from isoswitch.codecs.iso20022.signature import Signature
from isoswitch.commands.certificates import TestAuthority
from isoswitch.hsm.local import LocalHsm
from isoswitch.simulators.clearing_house import ClearingHouse
from isoswitch.simulators.house_door import Door
from isoswitch.simulators.world import World, house_settings
from isoswitch.switch.interbank.house import House
from isoswitch.switch.ports import SystemClock
from isoswitch.switch.server import connect_tcp
from isoswitch.switch.settings import HouseSettings, TlsFiles

pytestmark = pytest.mark.live


def files(folder: Path, name: str, ca: str = "ca.pem") -> TlsFiles:
    return TlsFiles(
        certificate=folder / f"{name}.pem",
        key=folder / f"{name}.key",
        ca=folder / ca,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with an authority, certificates of both sides, and a stranger's."""
    authority = TestAuthority(tmp_path / "ca.pem")
    authority.sign(files(tmp_path, "house"), "house", is_server=True)
    authority.sign(files(tmp_path, "us"), "isoswitch", is_server=False)
    stranger = TestAuthority(tmp_path / "other.pem")
    stranger.sign(files(tmp_path, "stranger"), "isoswitch", is_server=False)
    return tmp_path


@asynccontextmanager
async def linked(
    folder: Path, settings: HouseSettings
) -> AsyncIterator[tuple[ClearingHouse, House, list[bytes]]]:
    """A house and the switch's side of the link with it."""
    world = World()
    house = ClearingHouse(
        members={},
        clock=SystemClock(),
        random=Random(1),
        signer=world.houses["house"].signer,
        door=Door(over_https=settings.transport == "https", tls=files(folder, "house")),
    )
    heard: list[bytes] = []

    async def receive(
        link: House, document: bytes, signature: Signature | None
    ) -> None:
        await link.verify(document, signature)
        heard.append(document)

    async with trio.open_nursery() as nursery:
        _, port = await nursery.start(partial(house.run, host="127.0.0.1"))
        assert isinstance(world.hsm, LocalHsm)
        link = House(
            replace(settings, host="127.0.0.1", port=port),
            connect=connect_tcp,
            random=Random(1),
            hsm=world.hsm,
        )
        nursery.start_soon(link.run, receive)
        with trio.fail_after(20):
            await link.attempted.wait()
        yield house, link, heard
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("transport", ["tcp", "https"])
async def test_signed_documents_go_both_ways_over_tls(
    folder: Path, transport: str
) -> None:
    settings = replace(house_settings(), transport=transport, tls=files(folder, "us"))
    async with linked(folder, settings) as (house, link, heard):
        for number in range(5):
            await link.send(b"<a>%d</a>" % number)
        with trio.fail_after(20):
            while len(house.documents) < 5:
                await trio.sleep(0.02)
            house.send_nowait(b"<b/>")
            while not heard:
                await trio.sleep(0.02)
        assert house.documents == [b"<a>%d</a>" % number for number in range(5)]
        assert heard == [b"<b/>"]


@pytest.mark.parametrize(
    "tls", [("stranger", "ca.pem"), ("us", "other.pem")], ids=["theirs", "ours"]
)
async def test_who_has_no_certificate_of_the_authority_gets_no_link(
    folder: Path, tls: tuple[str, str]
) -> None:
    settings = replace(house_settings(), transport="https", tls=files(folder, *tls))
    async with linked(folder, settings) as (house, link, _):
        with trio.fail_after(20):
            while house.door.counts["handshake failed"] < 3:
                # By TLS 1.3 a client learns only afterwards that it is not let in.
                with suppress(LinkDown):
                    await link.send(b"<a/>")
                await trio.sleep(0.02)
        assert house.documents == []
