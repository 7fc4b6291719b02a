"""Data of terminals, random bytes, signatures."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.errors import HsmError, KeyRefused, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.functions.signature import verify_signature
from isoswitch.hsm.keytable import KeyTable, form_record, random_value
from isoswitch.hsm.knownanswers import KnownAnswers
from isoswitch.hsm.port import (
    AnyCommand,
    DecryptData,
    EncryptData,
    Random,
    ReadPublicKey,
    Sign,
    VerifySignature,
)
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from tests.hsm.handlers.payments import changed
from tests.hsm.softhsm import plan

CLEAR = b"4012345678909D987"
# ANSI X9.24-1:2009, A.4: the request of counter 1.
TDES_REQUEST = DecryptData(
    key="terminal/bdk",
    data=bytes.fromhex("FC0D53B7EA1FDA9EE68AAF2E70D9B9506229BE2AA993F04F"),
    ksn=bytes.fromhex("FFFF9876543210E00001"),
)
# moov-io/dukpt over the base key of ANSI X9.24-3.
AES_REQUEST = DecryptData(
    key="terminal/aes-bdk",
    data=bytes.fromhex(
        "E5AFA5B408A3310E3D779C8A9A2AE29448BD5B4232582090DB703AF647205A79"
    ),
    ksn=bytes.fromhex("123456789012345600000001"),
)
AES_RESPONSE = "84904DFC6B5201A4F1FE2EAA49E70B8C01838EF53030790FF785D630AB3916B4"


@pytest.mark.parametrize("command", [TDES_REQUEST, AES_REQUEST], ids=["TDES", "AES"])
def test_the_data_of_a_terminal_decrypts(
    payments: CryptoService, command: DecryptData
) -> None:
    (clear,) = payments.execute([command])
    assert clear == CLEAR.ljust(len(command.data), b"\x00")
    (other,) = payments.execute([changed(command, ksn=_next(command.ksn))])
    assert other != clear


def test_data_for_a_terminal_is_that_of_the_response(payments: CryptoService) -> None:
    command = EncryptData(
        key="terminal/aes-bdk", data=CLEAR.ljust(32, b"\x00"), ksn=AES_REQUEST.ksn
    )
    assert payments.execute([command]) == [bytes.fromhex(AES_RESPONSE)]


@pytest.mark.parametrize(
    "changes",
    [
        {"data": bytes(7)},
        {"data": b""},
        {"ksn": bytes(10)},
        {"ksn": bytes(3)},
        {"context": b"transaction 1"},
    ],
)
def test_data_of_no_terminal_is_refused(
    payments: CryptoService, changes: dict[str, object]
) -> None:
    with pytest.raises(HsmError):
        payments.execute([changed(TDES_REQUEST, **changes)])


@pytest.mark.parametrize(
    "command",
    [
        changed(TDES_REQUEST, ksn=b""),
        changed(TDES_REQUEST, key="store/seal"),
        EncryptData(key="terminal/bdk", data=bytes(8)),
        EncryptData(key="zone/out", data=bytes(8)),
        Sign(key="store/seal", data=b""),
        Sign(key="nobody", data=b""),
        ReadPublicKey(key="terminal/bdk"),
    ],
)
def test_a_key_of_another_usage_is_refused(
    payments: CryptoService, command: AnyCommand
) -> None:
    with pytest.raises(KeyRefused):
        payments.execute([command])


def test_random_bytes_differ(payments: CryptoService) -> None:
    first, second = payments.execute([Random(length=32), Random(length=32)])
    assert len(first) == len(second) == 32
    assert first != second


@pytest.mark.parametrize("length", [-1, 0, 4097])
def test_random_bytes_have_a_limit(payments: CryptoService, length: int) -> None:
    with pytest.raises(HsmError):
        payments.execute([Random(length=length)])


def test_a_signature_verifies_with_the_public_key(payments: CryptoService) -> None:
    signature, public = payments.execute(
        [Sign(key="own/sign", data=b"data"), ReadPublicKey(key="own/sign")]
    )
    command = VerifySignature(public=public, data=b"data", signature=signature)
    assert payments.execute([command]) == [b""]
    for wrong in (
        changed(command, data=b"date"),
        changed(command, signature=bytes(64)),
        changed(command, signature=b""),
    ):
        with pytest.raises(VerificationFailed):
            payments.execute([wrong])
    with pytest.raises(KeyRefused):
        payments.execute([changed(command, public=b"no key")])


@pytest.mark.parametrize("algorithm", [("ec", 32), ("rsa", 256)], ids=["EC", "RSA"])
def test_a_random_signature_key_signs_in_either_engine(
    vault: Vault, algorithm: tuple[str, int]
) -> None:
    key = plan("own/sign", "S0", "S", *algorithm)
    record = form_record(vault, key, random_value(key), created="")
    service = CryptoService(KeyTable(vault, [record]), KnownAnswers(vault.engine))
    (signature,) = service.execute([Sign(key="own/sign", data=b"data")])
    verify_signature(bytes.fromhex(record.public), b"data", signature)


@pytest.mark.parametrize("value", [b"", b"\x30", b"\x30\x80", bytes(32)])
def test_what_is_no_private_key_is_refused(value: bytes) -> None:
    vault = Vault.of_value(SoftwareEngine(), KeyValue(bytes(32)))
    with pytest.raises(KeyRefused):
        form_record(vault, plan("s", "S0", "S", "ec", 32), KeyValue(value), created="")


def test_a_private_key_of_another_algorithm_is_refused() -> None:
    vault = Vault.of_value(SoftwareEngine(), KeyValue(bytes(32)))
    value = random_value(plan("s", "S0", "S", "ec", 32))
    with pytest.raises(KeyRefused):
        form_record(vault, plan("s", "S0", "S", "rsa", 256), value, created="")


def _next(ksn: bytes) -> bytes:
    return (int.from_bytes(ksn) + 1).to_bytes(len(ksn))
