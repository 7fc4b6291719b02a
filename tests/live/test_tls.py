"""Terminals over TLS 1.3: their certificate is their identity, and others stay out."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.commands.certificates import TestAuthority
from isoswitch.commands.ends import keyring_of
from isoswitch.simulators.beliefs import BeliefState
from isoswitch.simulators.bookings import read_bookings
from isoswitch.simulators.cards import get_card
from isoswitch.simulators.terminal import Terminal
from isoswitch.switch.ports import SystemClock
from isoswitch.switch.settings import TlsFiles
from tests.live.live_network import Site, running_site, wait_until

pytestmark = pytest.mark.live

ANSWER_S = 5.0
CARD = get_card("visa-ok")
# DE 39 of a terminal that may not do this (ISO 8583:1987).
NOT_PERMITTED = "58"
MakeContext = Callable[[Site, Path], ssl.SSLContext]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A network for all tests of this module."""
    with running_site(tmp_path_factory.mktemp("tls")) as running:
        yield running


def client_context(site: Site, files: TlsFiles | None = None) -> ssl.SSLContext:
    """Make a client's context that trusts the switch; with a certificate if given."""
    context = ssl.create_default_context(cafile=site.loaded.folder / "var/tls/ca.pem")
    if files is not None:
        context.load_cert_chain(files.certificate, files.key)
    return context


def files_in(folder: Path) -> TlsFiles:
    """Name the files of a client that a test makes up."""
    return TlsFiles(
        certificate=folder / "client.pem",
        key=folder / "client.key",
        ca=folder / "ca.pem",
    )


def without_certificate(site: Site, folder: Path) -> ssl.SSLContext:
    del folder
    return client_context(site)


def of_another_authority(site: Site, folder: Path) -> ssl.SSLContext:
    files = files_in(folder)
    TestAuthority(files.ca).sign(files, "TERM0003", is_server=False)
    return client_context(site, files)


def for_servers_only(site: Site, folder: Path) -> ssl.SSLContext:
    files = files_in(folder)
    authority = TestAuthority(site.loaded.folder / "var/tls/ca.pem")
    authority.sign(files, "TERM0003", is_server=True)
    return client_context(site, files)


def expired(site: Site, folder: Path) -> ssl.SSLContext:
    """Have the right authority sign a certificate that ended yesterday."""
    tls = site.loaded.folder / "var/tls"
    ca_key = load_pem_private_key((tls / "ca.key").read_bytes(), password=None)
    assert isinstance(ca_key, ec.EllipticCurvePrivateKey)
    ca = x509.load_pem_x509_certificate((tls / "ca.pem").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    yesterday = datetime.now(UTC) - timedelta(days=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "TERM0003")]))
        .issuer_name(ca.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(yesterday - timedelta(days=30))
        .not_valid_after(yesterday)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()),
            critical=False,
        )
        .sign(ca_key, SHA256())
    )
    files = files_in(folder)
    files.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    files.key.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    return client_context(site, files)


def only_tls_1_2(site: Site, folder: Path) -> ssl.SSLContext:
    del folder
    row = site.loaded.network.terminals["TERM0003"].tls
    assert row is not None
    context = client_context(
        site,
        TlsFiles(
            certificate=site.loaded.file(row.certificate),
            key=site.loaded.file(row.key),
            ca=site.loaded.file(row.ca),
        ),
    )
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


REFUSED: Mapping[str, tuple[MakeContext, str]] = {
    "no certificate": (without_certificate, "peer did not return a certificate"),
    "another authority": (of_another_authority, "certificate verify failed"),
    "a server's certificate": (for_servers_only, "unsuitable certificate purpose"),
    "expired": (expired, "certificate has expired"),
    "TLS 1.2": (only_tls_1_2, "unsupported protocol"),
}


@pytest.mark.parametrize(("make_context", "reason"), REFUSED.values(), ids=REFUSED)
async def test_a_stranger_is_refused_with_one_line_and_nobody_else_notices(
    site: Site,
    nursery: trio.Nursery,
    tmp_path: Path,
    make_context: MakeContext,
    reason: str,
) -> None:
    honest = site.terminal("TERM0003")
    await nursery.start(honest.run)
    assert await pays(honest)
    refused = site.log_lines("handshake_refused")
    connection = honest._wire
    await is_turned_away(site, make_context(site, tmp_path))
    await wait_until(
        lambda: len(site.log_lines("handshake_refused")) > len(refused), "log line"
    )
    (line,) = site.log_lines("handshake_refused")[len(refused) :]
    assert line["listener"] == "tls"
    assert reason in line["reason"]
    assert await pays(honest)
    assert honest._wire is connection


async def test_bytes_that_are_no_tls_are_refused_with_one_line(site: Site) -> None:
    refused = len(site.log_lines("handshake_refused"))
    stream = await trio.open_tcp_stream(*site.address("tls"))
    async with stream:
        await stream.send_all(b"\x00\x040800")
        assert await ends(stream)
    await wait_until(
        lambda: len(site.log_lines("handshake_refused")) == refused + 1, "log line"
    )


async def test_a_handshake_that_never_ends_is_given_up(site: Site) -> None:
    refused = len(site.log_lines("handshake_refused"))
    stream = await trio.open_tcp_stream(*site.address("tls"))
    async with stream:
        # A handshake record is announced, and never comes.
        await stream.send_all(b"\x16\x03\x01\x02\x00")
        assert await ends(stream, patience_s=2 * ANSWER_S)
    await wait_until(
        lambda: len(site.log_lines("handshake_refused")) == refused + 1, "log line"
    )


async def test_a_terminal_cannot_use_another_ones_certificate(
    site: Site, nursery: trio.Nursery
) -> None:
    """Its own keys do not help: DE 41 must be that of the certificate."""
    impostor, other = site.terminal("TERM0003"), site.terminal("TERM0001").profile
    impostor = disguised(site, impostor, as_terminal="TERM0001")
    assert impostor.profile.tak == other.tak
    await nursery.start(impostor.run)
    await expect_refusal(site, impostor)


async def test_a_terminal_with_a_certificate_cannot_do_without(
    site: Site, nursery: trio.Nursery
) -> None:
    """Its keys may have been stolen: a plain connection is not its own."""
    impostor = disguised(site, site.terminal("TERM0001"), as_terminal="TERM0003")
    await nursery.start(impostor.run)
    await expect_refusal(site, impostor)


async def test_another_key_under_the_same_name_is_not_the_terminal(
    site: Site, nursery: trio.Nursery, tmp_path: Path
) -> None:
    """The authority may sign again; the switch pins the public key."""
    files = files_in(tmp_path)
    authority = TestAuthority(site.loaded.folder / "var/tls/ca.pem")
    authority.sign(files, "TERM0003", is_server=False)
    impostor = site.terminal("TERM0003")

    async def connect() -> trio.abc.Stream:
        stream = await trio.open_tcp_stream(*site.address("tls"))
        context = client_context(site, files)
        return trio.SSLStream(stream, context, server_hostname="127.0.0.1")

    impostor._connect = connect
    await nursery.start(impostor.run)
    await expect_refusal(site, impostor)


def disguised(site: Site, terminal: Terminal, *, as_terminal: str) -> Terminal:
    """Give a terminal that says it is another, with its keys, over its own line."""
    other = site.terminal(as_terminal)
    profile = replace(
        other.profile,
        dialect=terminal.profile.dialect,
        framing=terminal.profile.framing,
        header=terminal.profile.header,
    )
    return Terminal(
        profile,
        keyring=keyring_of(site.loaded),
        connect=terminal._connect,
        clock=SystemClock(),
    )


async def pays(terminal: Terminal) -> bool:
    """Whether a payment is approved."""
    belief = await terminal.purchase(CARD, 12_50, pin=CARD.pin)
    return belief.state is BeliefState.APPROVED


async def expect_refusal(site: Site, impostor: Terminal) -> None:
    """Insist that a payment is declined, logged once, and seen by no issuer."""

    def refusals() -> list[str]:
        legs = site.log_lines("leg")
        return [leg["transaction"] for leg in legs if leg["code"] == NOT_PERMITTED]

    books = site.store_path.with_name("books-north.jsonl")
    booked = len(read_bookings(books))
    refused = len(refusals())
    belief = await impostor.purchase(CARD, 12_50, pin=CARD.pin)
    assert belief.outcome is not None
    assert belief.outcome.code is ResponseCode.TERMINAL_NOT_PERMITTED
    assert len(read_bookings(books)) == booked
    await wait_until(lambda: len(refusals()) > refused, "a refusal in the log")
    (transaction,) = refusals()[refused:]
    legs = [leg for leg in site.log_lines("leg") if leg["transaction"] == transaction]
    assert [leg["direction"] for leg in legs] == ["in", "out"]


async def is_turned_away(site: Site, context: ssl.SSLContext) -> None:
    """Connect and insist that the connection ends before a byte came back."""
    stream = await trio.open_tcp_stream(*site.address("tls"))
    secure = trio.SSLStream(stream, context, server_hostname="127.0.0.1")
    async with stream:
        assert await ends(secure)


async def ends(stream: trio.abc.Stream, *, patience_s: float = ANSWER_S) -> bool:
    """Whether the peer ends the connection without a word."""
    with trio.fail_after(patience_s):
        try:
            return not await stream.receive_some(1)
        except trio.BrokenResourceError:
            return True
