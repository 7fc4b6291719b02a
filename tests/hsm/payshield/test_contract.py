"""The contract of the port, on a simulated payment HSM behind a real socket.

The tests are those of the crypto service. Left out are two that look into the service:
the one that counts its keys, and the one of the port that lives in its own process.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.hsm import test_service as contract
from tests.hsm.payshield.units import BlockingHsm, blocking_hsm, unit_keys

pytestmark = pytest.mark.live

CONTRACT = (
    contract.test_a_mac_of_the_standard,
    contract.test_a_made_mac_verifies_and_no_other,
    contract.test_a_mac_of_another_key_does_not_verify,
    contract.test_a_translated_block_holds_the_same_pin,
    contract.test_a_block_that_is_not_valid_says_nothing_but_that,
    contract.test_forbidden_translations_are_refused,
    contract.test_a_key_against_its_usage_is_refused,
    contract.test_sealed_data_opens_under_its_context_only,
    contract.test_a_keyed_hash_is_the_hmac,
    contract.test_one_round_trip_verifies_translates_splices_and_authenticates,
    contract.test_a_splice_as_hex_writes_upper_case_digits,
    contract.test_a_splice_outside_the_data_is_refused,
    contract.test_a_splice_of_nothing_is_refused,
    contract.test_nothing_is_done_after_a_failed_verification,
    contract.test_a_mac_of_impossible_length_is_refused,
    contract.test_a_pan_that_is_none_is_refused_unrepeated,
    contract.test_loaded_keys_are_listed_without_values,
    contract.test_a_random_block_is_never_translated_by_a_fault,
)
globals().update({test.__name__: test for test in CONTRACT})


@pytest.fixture
def service() -> Iterator[BlockingHsm]:
    """Give a client of a simulated unit with the keys of ``PLANS``."""
    with blocking_hsm(unit_keys()) as hsm:
        yield hsm
