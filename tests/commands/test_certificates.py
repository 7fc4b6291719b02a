"""The test authority signs what a strict verifier accepts, and nothing else."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from isoswitch.commands.certificates import TestAuthority
from isoswitch.switch.settings import TlsFiles
from isoswitch.switch.terminals import make_tls_context


def sign(folder: Path, name: str, *, is_server: bool, ca: str = "ca") -> TlsFiles:
    """Sign one side."""
    files = TlsFiles(
        certificate=folder / f"{name}.pem",
        key=folder / f"{name}.key",
        ca=folder / f"{ca}.pem",
    )
    TestAuthority(files.ca).sign(files, name, is_server=is_server)
    return files


def handshake(server: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """Shake hands in memory; give the server's side."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname="127.0.0.1"),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
            waiting.remove(end)
    return ends[1]


def client_context(files: TlsFiles) -> ssl.SSLContext:
    """Make the context of a terminal."""
    context = ssl.create_default_context(cafile=files.ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.load_cert_chain(files.certificate, files.key)
    return context


def test_both_sides_accept_each_other(tmp_path: Path) -> None:
    server = make_tls_context(sign(tmp_path, "switch", is_server=True))
    client = client_context(sign(tmp_path, "TERM0003", is_server=False))
    seen = handshake(server, client)
    assert seen.version() == "TLSv1.3"
    certificate = seen.getpeercert()
    assert certificate is not None
    assert certificate["subject"] == ((("commonName", "TERM0003"),),)


def test_a_terminal_of_another_authority_is_refused(tmp_path: Path) -> None:
    server = make_tls_context(sign(tmp_path, "switch", is_server=True))
    stranger = sign(tmp_path, "STRANGER", is_server=False, ca="other")
    context = client_context(stranger)
    context.load_verify_locations(tmp_path / "ca.pem")
    with pytest.raises(ssl.SSLError, match=r"certificate verify failed|unknown ca"):
        handshake(server, context)


def test_a_certificate_of_a_server_is_none_of_a_terminal(tmp_path: Path) -> None:
    server = make_tls_context(sign(tmp_path, "switch", is_server=True))
    impostor = client_context(sign(tmp_path, "other", is_server=True))
    with pytest.raises(ssl.SSLError, match=r"purpose|certificate verify failed"):
        handshake(server, impostor)


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    files = sign(tmp_path, "switch", is_server=True)
    for key in (files.key, tmp_path / "ca.key"):
        assert key.stat().st_mode & 0o077 == 0
