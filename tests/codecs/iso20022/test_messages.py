"""Messages are read and built by one table, and follow their schemas."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from isoswitch.codecs.canonical.errors import DecodeError, DocumentError, EncodeError
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.iso20022.caaa_tables import EXCHANGES
from isoswitch.codecs.iso20022.cain_tables import MESSAGES
from isoswitch.codecs.iso20022.document import Part, read_document
from isoswitch.codecs.iso20022.mapping import Form
from isoswitch.codecs.iso20022.messages import (
    BY_FAMILY,
    HEADER,
    MESSAGE_TYPES,
    build_message,
    header_for,
    read_message,
)
from isoswitch.codecs.iso20022.repair import repair_schema
from isoswitch.codecs.iso20022.schemas import Mode, Schemas
from isoswitch.codecs.iso20022.transfers import (
    CustomerTransfer,
    StatusReport,
    Transfer,
    TransferStatus,
)
from isoswitch.codecs.iso20022.values import (
    DECIMAL,
    FLAG,
    INSTANT,
    SIGN,
    Account,
    Agent,
    Party,
    Reason,
)
from tests.codecs.iso20022.hostile import START
from tests.codecs.iso20022.instances import instances
from tests.iso20022 import FOLDER, published_into, samples

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
IDS = [each.message_id for each in MESSAGE_TYPES]
CARDS = sorted(
    {each for row in MESSAGES.values() for each in (row[0], row[2])}
    | {part[0] for each in EXCHANGES.values() for part in each}
)
PROFILES = Schemas()

TRANSFER = CustomerTransfer(
    message_id="M1",
    created_at=NOW,
    count=1,
    settlement_date=date(2026, 3, 1),
    transfers=(
        Transfer(
            end_to_end_id="E1",
            uetr="7b0c1d2e-3f40-4a5b-8c6d-7e8f90a1b2c3",
            amount=Money(1250, "978"),
            accepted_at=NOW,
            debtor=Party(name="Debtor", country="DE"),
            debtor_account=Account(iban="DE89370400440532013000"),
            debtor_agent=Agent(bic="BANKDEFFXXX"),
            creditor_agent=Agent(clearing_system="USABA", member_id="021040078"),
            creditor=Party(name="Müller & Söhne <GmbH>"),
            creditor_account=Account(number="12345"),
            remittance=("invoice 1", "invoice 2"),
        ),
    ),
)

REPORT = StatusReport(
    message_id="S1",
    created_at=NOW,
    statuses=(
        TransferStatus(
            status="RJCT",
            uetr="7b0c1d2e-3f40-4a5b-8c6d-7e8f90a1b2c3",
            reasons=(Reason(code="AC04", details=("closed",)),),
        ),
    ),
)


@cache
def _base(message_id: str) -> Schemas:
    directory = Path(tempfile.mkdtemp(prefix="isoswitch-schemas-"))
    return Schemas(published_into(directory, message_id, repair=repair_schema))


def _part(data: bytes) -> Part:
    part = read_document(data).body
    assert part is not None
    return part


def test_a_transfer_crosses_and_comes_back() -> None:
    data = build_message(TRANSFER, None)
    assert b'<IntrBkSttlmAmt Ccy="EUR">12.50</IntrBkSttlmAmt>' in data
    assert b"M\xc3\xbcller &amp; S\xc3\xb6hne &lt;GmbH&gt;" in data
    assert read_message(_part(data)) == TRANSFER
    PROFILES.verify(_part(data), Mode.PROFILE)


def test_a_header_goes_before_its_message() -> None:
    header = header_for(
        TRANSFER,
        message_id="M1",
        created_at=NOW,
        sender=Agent(bic="BANKDEFFXXX"),
        receiver=Agent(bic="BANKFRPPXXX"),
    )
    document = read_document(build_message(TRANSFER, header))
    assert document.header is not None
    assert read_message(document.header) == header
    assert header.message_name == "pacs.008.001.08"
    PROFILES.verify(document.header, Mode.PROFILE)


@pytest.mark.parametrize("message_id", [HEADER.message_id, *IDS])
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_a_profile_admits_is_read_built_alike_and_published(
    message_id: str, data: st.DataObject
) -> None:
    drawn = data.draw(instances(message_id))
    part = Part(message_id=message_id, element=drawn)
    PROFILES.verify(part, Mode.PROFILE)
    model = read_message(part)
    assert _canonical(build_message(model, None)) == _canonical(etree.tostring(drawn))


@pytest.mark.parametrize("message_id", [HEADER.message_id, *IDS])
@settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_what_a_profile_admits_the_published_schema_admits(
    message_id: str, data: st.DataObject
) -> None:
    schemas = _base(message_id)
    assert schemas.has_base(message_id)
    drawn = data.draw(instances(message_id))
    schemas.verify(Part(message_id=message_id, element=drawn), Mode.BOTH)


@pytest.mark.parametrize("message_id", CARDS)
@settings(max_examples=10, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_what_a_card_profile_admits_the_published_schema_admits(
    message_id: str, data: st.DataObject
) -> None:
    schemas = _base(message_id)
    drawn = data.draw(instances(message_id))
    schemas.verify(Part(message_id=message_id, element=drawn), Mode.BOTH)


def _canonical(data: bytes) -> str:
    canonical: str = etree.canonicalize(
        data.decode().partition("?>\n")[2] or data.decode()
    )
    return canonical


def test_every_family_is_one_message_and_has_its_profile() -> None:
    assert len(BY_FAMILY) == len(MESSAGE_TYPES) + 1
    for message_type in (HEADER, *MESSAGE_TYPES):
        assert PROFILES.has_profile(message_type.message_id)


def test_what_a_model_needs_is_missed_by_name() -> None:
    data = build_message(TRANSFER, None).replace(b"<EndToEndId>E1</EndToEndId>", b"")
    with pytest.raises(DocumentError) as refused:
        read_message(_part(data))
    assert str(refused.value) == (
        "line 2, Document/FIToFICstmrCdtTrf/CdtTrfTxInf/PmtId/EndToEndId: missing"
    )


@pytest.mark.parametrize(
    ("right", "wrong", "reason"),
    [
        (b">12.50<", b">4111111111111111111<", "not an amount"),
        (b">12.50<", b">12.505<", "more decimals than the currency has"),
        (b'"EUR"', b'"XQX"', "not a known currency"),
        (b"<NbOfTxs>1<", b"<NbOfTxs>one<", "not a count"),
        (b"2026-03-01T12:00:00Z</CreDtTm>", b"now</CreDtTm>", "not a date and time"),
        (b"<IntrBkSttlmDt>2026-03-01<", b"<IntrBkSttlmDt>2026-02-30<", "not a date"),
        (
            b"<EndToEndId>E1<",
            b"<EndToEndId>" + b"4" * 36 + b"<",
            "EndToEndId: too long",
        ),
        (b"<MsgId>", b"<MsgId>" + b"4" * 36, "MsgId: too long"),
        (b"<UETR>", b"<UETR>4", "UETR: too long"),
        (b"</IntrBkSttlmAmt>", b"</IntrBkSttlmAmt><IntrBkSttlmAmt/>", "more than once"),
        (b"<PmtId>", b"<PmtId><EndToEndId>E2</EndToEndId></PmtId><PmtId>", "than once"),
    ],
)
def test_a_value_that_is_none_is_refused_without_it(
    right: bytes, wrong: bytes, reason: str
) -> None:
    data = build_message(TRANSFER, None)
    assert right in data
    with pytest.raises(DocumentError, match=reason) as refused:
        read_message(_part(data.replace(right, wrong)))
    assert "4111111111111111111" not in str(refused.value)


@pytest.mark.parametrize(
    ("form", "words", "reason"),
    [
        (INSTANT, "2026-03-01", "not a date and time"),
        (DECIMAL, "1e5", "not a decimal number"),
        (FLAG, "yes", "neither true nor false"),
        (SIGN, "C", "neither credit nor debit"),
    ],
)
def test_a_form_refuses_what_it_is_not(form: Form, words: str, reason: str) -> None:
    element = etree.Element("x")
    element.text = words
    with pytest.raises(ValueError, match=reason):
        form.read(element)


def test_a_value_that_cannot_be_carried_is_refused() -> None:
    for created_at, name, reason in (
        (NOW.replace(tzinfo=None), "a", "an instant without a zone"),
        (NOW, "a\x01", "a character that XML cannot carry"),
    ):
        [transfer] = TRANSFER.transfers
        wrong = replace(transfer, purpose=name)
        message = replace(TRANSFER, created_at=created_at, transfers=(wrong,))
        with pytest.raises(EncodeError, match=reason):
            build_message(message, None)
    with pytest.raises(EncodeError, match="no message of ISO 20022"):
        build_message(Money(1, "978"), None)
    [transfer] = TRANSFER.transfers
    for amount in (Money(-1, "978"), Money(1, "999")):
        message = replace(TRANSFER, transfers=(replace(transfer, amount=amount),))
        with pytest.raises(EncodeError, match="IntrBkSttlmAmt"):
            build_message(message, None)


def test_a_message_that_is_not_understood_is_refused() -> None:
    for data, reason in (
        (
            b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:seev.001.001.01"/>',
            "not un",
        ),
        (
            b'<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.008.001.08"/>',
            "not one",
        ),
        (
            START + b"<PmtRtr/></Document>",
            "not the FIToFICstmrCdtTrf",
        ),
    ):
        with pytest.raises(DocumentError, match=reason):
            read_message(_part(data))


def test_reasons_and_statuses_are_told() -> None:
    assert read_message(_part(build_message(REPORT, None))) == REPORT


@pytest.mark.skipif(not samples(), reason="no iso20022/samples beside the repository")
def test_real_messages_that_follow_their_schema_are_read() -> None:
    read = 0
    for path, verdict in samples().items():
        document = read_document((FOLDER / path).read_bytes())
        for part in (document.header, document.body):
            if part is None or part.family not in BY_FAMILY:
                continue
            try:
                read_message(part)
            except DecodeError:
                assert "invalid" in verdict + path, path
            else:
                read += 1
    assert read > 250
