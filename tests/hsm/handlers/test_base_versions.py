"""Two versions of a base key: each terminal is answered under the one that it has."""

from __future__ import annotations

import msgspec
import pytest

from isoswitch.codecs.canonical.errors import KeyRefused
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.keys import State
from isoswitch.hsm.keytable import KeyTable, form_record
from isoswitch.hsm.knownanswers import KnownAnswers
from isoswitch.hsm.port import (
    AnyCommand,
    DecryptData,
    EncryptData,
    GenerateMac,
    VerifyMac,
)
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from tests.hsm.handlers import test_data as data
from tests.hsm.handlers import test_mac as mac
from tests.hsm.handlers.payments import AES_BASE, KNOWN, changed
from tests.hsm.softhsm import plan

OTHER = {"tdes": "1111111122222222333333334444444F", "aes": "0F" * 16}
STANDARD = {"tdes": KNOWN, "aes": AES_BASE}
MACS = {"tdes": mac.TDES[0], "aes": mac.AES[0]}
BOTH = pytest.mark.parametrize("algorithm", ["tdes", "aes"])
OLD_AND_NEW = pytest.mark.parametrize("version", [1, 2])


def rotated(algorithm: str, *, version: int) -> CryptoService:
    """Give a service with two versions; this one is the key of the standards."""
    vault = Vault.of_value(SoftwareEngine(), KeyValue(bytes(range(32))))
    records = []
    for number, state in ((1, State.RETIRED), (2, State.ACTIVE)):
        value = (STANDARD if number == version else OTHER)[algorithm]
        planned = plan("bdk", "B0", "X", algorithm)
        formed = form_record(
            vault,
            msgspec.structs.replace(planned, version=number),
            KeyValue(bytes.fromhex(value)),
            created="",
        )
        records.append(msgspec.structs.replace(formed, state=state))
    return CryptoService(KeyTable(vault, records), KnownAnswers(vault.engine))


@BOTH
@OLD_AND_NEW
def test_a_response_is_made_under_the_version_of_the_request(
    algorithm: str, version: int
) -> None:
    service = rotated(algorithm, version=version)
    ksn, request, response = map(bytes.fromhex, MACS[algorithm])
    verify = VerifyMac(key="bdk", data=mac.DATA, mac=request, ksn=ksn)
    (found,) = service.execute([verify])
    assert found == str(version).encode()
    generate = GenerateMac(
        key="bdk", data=mac.DATA, length=len(response), ksn=ksn, base_version=int(found)
    )
    assert service.execute([generate]) == [response]


@OLD_AND_NEW
def test_data_are_those_of_the_version_that_is_named(version: int) -> None:
    tdes, aes = (rotated(each, version=version) for each in ("tdes", "aes"))
    decrypt = changed(data.TDES_REQUEST, key="bdk", base_version=version)
    assert tdes.execute([decrypt])[0].startswith(data.CLEAR)
    encrypt = EncryptData(
        key="bdk",
        data=data.CLEAR.ljust(32, b"\x00"),
        ksn=data.AES_REQUEST.ksn,
        base_version=version,
    )
    assert aes.execute([encrypt]) == [bytes.fromhex(data.AES_RESPONSE)]


KSN = bytes.fromhex(mac.TDES[0][0])


@pytest.mark.parametrize(
    ("version", "reason"), [(0, "several versions"), (9, "no version 9")]
)
@pytest.mark.parametrize(
    "command",
    [
        GenerateMac(key="bdk", data=b"response", ksn=KSN),
        EncryptData(key="bdk", data=bytes(8), ksn=KSN),
        DecryptData(key="bdk", data=bytes(8), ksn=KSN),
    ],
    ids=lambda command: type(command).__name__,
)
def test_where_the_version_is_not_told_nothing_is_made(
    command: AnyCommand, version: int, reason: str
) -> None:
    service = rotated("tdes", version=1)
    with pytest.raises(KeyRefused, match=reason):
        service.execute([changed(command, base_version=version)])
