"""What a simulated issuer makes of the keys that it is sent."""

from __future__ import annotations

from datetime import UTC, datetime
from random import Random

import pytest

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.dialects.key_change import KeyPurpose, write_key_change
from isoswitch.codecs.dialects.registry import get_dialect
from isoswitch.codecs.iso8583.message import Message
from isoswitch.hsm.engine import Algorithm
from isoswitch.simulators.issuer_keys import IssuerKeys
from isoswitch.simulators.working_keys import WorkingKeys, draw_key, wrap_key

RANDOM = Random(7)
DIALECT = get_dialect("iso87-ascii")
KEK = draw_key(RANDOM, Algorithm.TDES)


@pytest.fixture
def keys() -> WorkingKeys:
    return WorkingKeys(draw_key(RANDOM, Algorithm.TDES))


@pytest.fixture
def issuer(keys: WorkingKeys) -> IssuerKeys:
    return IssuerKeys({KeyPurpose.MAC: keys}, kek=KEK, is_legacy=False, random=RANDOM)


def new_key() -> Message:
    """Give a message with a key that nobody has seen."""
    key = draw_key(RANDOM, Algorithm.TDES)
    sent = wrap_key(KEK, key, KeyPurpose.MAC, is_block=True)
    return DIALECT.network_request(
        Kind.KEY_CHANGE,
        stan="000001",
        transmitted_at=datetime(2026, 6, 1, tzinfo=UTC),
        extra=write_key_change(DIALECT, KeyPurpose.MAC, sent),
    )


def test_a_repeat_of_the_key_in_use_is_taken_again(issuer: IssuerKeys) -> None:
    message = new_key()
    for _ in range(2):
        assert issuer.take(DIALECT, message)[0].code is ResponseCode.APPROVED


def test_a_key_that_has_had_its_time_does_not_come_back(
    issuer: IssuerKeys, keys: WorkingKeys
) -> None:
    first, second = new_key(), new_key()
    issuer.take(DIALECT, first)
    issuer.take(DIALECT, second)
    in_use = keys.active
    code = issuer.take(DIALECT, first)[0].code
    assert code is ResponseCode.SECURITY_VIOLATION
    assert keys.active == in_use
    assert issuer.counts == {"taken": 2, "replayed": 1}
