"""Response codes and the reasons of pacs.002 are joined by one table."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.dialects.codes import CODES_1987, MEANINGS_1987
from isoswitch.codecs.iso20022.status_reasons import (
    CODES,
    FAMILIES,
    REASONS,
    to_code,
    to_reason,
)

DECLINES = [each for each in ResponseCode if not each.is_approval]
APPROVALS = [each for each in ResponseCode if each.is_approval]
# Codes that share a reason with one that is more common: what they are read as.
SHARED = {
    ResponseCode.REFER_TO_ISSUER: "05",
    ResponseCode.PICK_UP_CARD: "62",
    ResponseCode.LOST_CARD: "62",
    ResponseCode.STOLEN_CARD: "62",
    ResponseCode.EXPIRED_CARD: "57",
    ResponseCode.WRONG_PIN: "05",
    ResponseCode.SECURITY_VIOLATION: "05",
    ResponseCode.EXCEEDS_COUNT_LIMIT: "05",
    ResponseCode.PIN_TRIES_EXCEEDED: "05",
    ResponseCode.CRYPTOGRAPHIC_ERROR: "05",
    ResponseCode.REQUEST_IN_PROGRESS: "94",
    ResponseCode.RECONCILIATION_ERROR: "05",
}


@pytest.mark.parametrize(
    ("wire", "reason"),
    [
        ("00", ""),
        ("10", ""),
        ("85", ""),
        ("03", "BE06"),
        ("05", "MS03"),
        ("06", "AB10"),
        ("12", "AG03"),
        ("13", "AM12"),
        ("14", "AC01"),
        ("15", "RC04"),
        ("25", "AG09"),
        ("30", "FF01"),
        ("38", "AC06"),
        ("41", "AC06"),
        ("43", "AC06"),
        ("51", "AM04"),
        ("54", "AG01"),
        ("55", "MS02"),
        ("57", "AG01"),
        ("58", "AG02"),
        ("59", "FR01"),
        ("61", "AM14"),
        ("62", "AC06"),
        ("68", "AB05"),
        ("75", "MS02"),
        ("90", "TM01"),
        ("91", "AB08"),
        ("92", "RC04"),
        ("94", "DU03"),
        ("96", "AB10"),
    ],
)
def test_a_response_code_has_its_reason(wire: str, reason: str) -> None:
    assert to_reason(MEANINGS_1987[wire][0]) == reason


@pytest.mark.parametrize(
    ("reason", "wire"),
    [
        ("MS02", "05"),
        ("MS03", "05"),
        ("CUST", "05"),
        ("DS02", "05"),
        ("BE06", "03"),
        ("AG03", "12"),
        ("FF03", "12"),
        ("AM01", "13"),
        ("AM12", "13"),
        ("AC01", "14"),
        ("AC03", "14"),
        ("AC04", "14"),
        ("AC06", "62"),
        ("RC01", "15"),
        ("RC04", "15"),
        ("CNOR", "15"),
        ("AG09", "25"),
        ("NOOR", "25"),
        ("FF01", "30"),
        ("CH03", "30"),
        ("AM04", "51"),
        ("AG01", "57"),
        ("RR04", "57"),
        ("AG02", "58"),
        ("FF05", "58"),
        ("FR01", "59"),
        ("FRAD", "59"),
        ("AM02", "61"),
        ("AM14", "61"),
        ("DS0H", "63"),
        ("AB05", "68"),
        ("AB06", "68"),
        ("TM01", "90"),
        ("DT05", "90"),
        ("AB07", "91"),
        ("AB08", "91"),
        ("AM05", "94"),
        ("DU03", "94"),
        ("DUPL", "94"),
        ("AB10", "96"),
        ("ED05", "96"),
        ("NARR", "96"),
        ("", "05"),
        ("AC", "05"),
        ("ACH is not connected", "05"),
        ("XXXX", "05"),
    ],
)
def test_a_reason_is_read_as_its_response_code(reason: str, wire: str) -> None:
    assert CODES_1987[to_code(reason)] == wire


@pytest.mark.parametrize("code", DECLINES)
def test_a_decline_comes_back_as_itself_or_as_what_shares_its_reason(
    code: ResponseCode,
) -> None:
    again = CODES_1987[to_code(to_reason(code))]
    assert again == SHARED.get(code, CODES_1987[code])


def test_only_declines_have_reasons() -> None:
    assert set(REASONS) == set(DECLINES)
    assert [to_reason(each) for each in APPROVALS] == [""] * len(APPROVALS)


@given(st.text(max_size=6) | st.sampled_from([*CODES, *FAMILIES]))
def test_no_reason_is_read_as_an_approval(reason: str) -> None:
    assert not to_code(reason).is_approval
