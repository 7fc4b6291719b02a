"""What it costs to let an ISO 20022 message in, beside ``xmlschema``.

Both take bytes and give a verdict by the same schema. Ours is all of the door: size,
encoding, limits, envelope, then the schema. The messages are a credit transfer and its
status; that verdicts are equal is a test.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import xmlschema

from bench.codec import measure, row_of
from isoswitch.codecs.canonical.money import Money
from isoswitch.codecs.iso20022.document import read_document
from isoswitch.codecs.iso20022.messages import build_message, read_message
from isoswitch.codecs.iso20022.schemas import PROFILES, Mode, Schemas
from isoswitch.codecs.iso20022.transfers import (
    CustomerTransfer,
    StatusReport,
    Transfer,
    TransferStatus,
)
from isoswitch.codecs.iso20022.values import Account, Agent, Party

NOW = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
UETR = "7b0c1d2e-3f40-4a5b-8c6d-7e8f90a1b2c3"
MESSAGES = {
    "pacs.008.001.08": CustomerTransfer(
        message_id="M1",
        created_at=NOW,
        count=1,
        settlement_date=date(2026, 3, 1),
        transfers=(
            Transfer(
                end_to_end_id="E1",
                transaction_id="T1",
                uetr=UETR,
                amount=Money(1250, "978"),
                accepted_at=NOW,
                debtor=Party(name="Debtor", town="Berlin", country="DE"),
                debtor_account=Account(iban="DE89370400440532013000"),
                debtor_agent=Agent(bic="BANKDEFFXXX"),
                creditor_agent=Agent(bic="BANKFRPPXXX"),
                creditor=Party(name="Creditor", town="Paris", country="FR"),
                creditor_account=Account(iban="FR1420041010050500013M02606"),
                remittance=("invoice 1",),
            ),
        ),
    ),
    "pacs.002.001.10": StatusReport(
        message_id="S1",
        created_at=NOW,
        statuses=(TransferStatus(status="ACSC", uetr=UETR, transaction_id="T1"),),
    ),
}
GOAL = 20.0


def run(quick: bool) -> list[dict[str, Any]]:
    """Measure and give a row for the check, and one for all of reading and building."""
    rows = []
    for message_id, message in MESSAGES.items():
        contestants = _contestants(message_id, message)
        costs = measure(contestants, rounds=9 if quick else 31, calls=40)
        against = "xmlschema"
        for name in ("check", "check and read", "build"):
            goal = GOAL if name == "check" else None
            title = f"xml: {name} {message_id}"
            rows.append(row_of(title, costs[name], against, costs[against], goal))
    return rows


def _contestants(message_id: str, message: Any) -> dict[str, Callable[[], object]]:
    data = build_message(message, None)
    schemas = Schemas()
    other = xmlschema.XMLSchema10(PROFILES / f"{message_id}.xsd", allow="local")
    options = {"defuse": "always", "allow": "local"}

    def check() -> None:
        part = read_document(data).body
        assert part is not None
        schemas.verify(part, Mode.PROFILE)

    def check_and_read() -> object:
        part = read_document(data).body
        assert part is not None
        schemas.verify(part, Mode.PROFILE)
        return read_message(part)

    def check_other() -> None:
        assert other.is_valid(xmlschema.XMLResource(io.BytesIO(data), **options))

    return {
        "check": check,
        "check and read": check_and_read,
        "build": lambda: build_message(message, None),
        "xmlschema": check_other,
    }


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(
            f"{row['name']:<40} {row['cpu_us']:8.2f} us  against"
            f" {row['baseline']}  ratio {row['ratio']:5.1f}  goal {row['goal']}"
        )
