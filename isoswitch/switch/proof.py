"""What proves a card where the switch approves in its issuer's place.

A card on the negative file gets nothing. A chip must have made the cryptogram of this
very request, verified by the crypto service under the issuer's key, and with a counter
that is higher than any that was stood in for. Counters and the negative file know the
number on the card or device by its keyed hash.
"""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from isoswitch.codecs.canonical.codes import EntryMode, ResponseCode
from isoswitch.codecs.canonical.errors import DecodeError, VerificationFailed
from isoswitch.codecs.canonical.secrets import Secret
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.emv.cryptogram import (
    APPROVALS,
    Cryptogram,
    read_cryptogram,
    write_answer,
)
from isoswitch.codecs.emv.tlv import decode_tlv
from isoswitch.hsm.port import AnyCommand, HashData, VerifyCryptogram
from isoswitch.store.rows import CardCounter, RowMove
from isoswitch.switch.job import Job
from isoswitch.switch.services import Services
from isoswitch.switch.settings import StandInSettings

CHIPS = frozenset({EntryMode.CHIP, EntryMode.CONTACTLESS_CHIP})
WRONG = Outcome.declined(
    ResponseCode.CRYPTOGRAPHIC_ERROR, "the cryptogram does not verify"
)
OLD = Outcome.declined(
    ResponseCode.SECURITY_VIOLATION, "a cryptogram that was used before"
)
REASON = "the card is on the negative file"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """A card that may be stood in for: what its chip is told, and what is kept."""

    answer: Secret[bytes] | None = None
    rows: tuple[RowMove, ...] = ()


async def prove(
    services: Services, job: Job, profile: StandInSettings
) -> Proof | Outcome:
    """Prove the card of a request; an outcome that declines is final.

    Raises
    ------
    HsmUnavailable, KeyRefused
        The crypto service cannot say: nothing may be approved.
    """
    txn = job.txn
    if txn.pan is None:
        return Proof()
    key = services.settings.pan_hash_key
    number = txn.pan.reveal().encode()
    commands: list[AnyCommand] = [HashData(key=key, data=number)]
    cryptogram = None
    if profile.cryptogram_key and txn.entry_mode in CHIPS:
        try:
            cryptogram = _read(job, profile)
        except DecodeError as error:
            log.warning("no_cryptogram", transaction=job.id, reason=str(error))
            return WRONG
        commands.append(_command(job, profile, cryptogram))
    try:
        hashed, *arpc = await services.hsm.run(*commands)
    except VerificationFailed:
        log.warning("wrong_cryptogram", transaction=job.id)
        return WRONG
    # The number itself, or the account behind it.
    for name in (hashed.hex(), job.pan_hash):
        if name in profile.negative:
            return Outcome.declined(profile.negative[name], REASON)
    if cryptogram is None:
        return Proof()
    before = await services.store.find_row(CardCounter, hashed.hex())
    atc = int.from_bytes(cryptogram.atc)
    if before is not None and atc <= before.atc:
        return OLD
    counter = CardCounter(id=hashed.hex(), atc=atc, transaction_id=job.id)
    return Proof(
        answer=Secret(write_answer(arpc[0], version=profile.cryptogram_version)),
        rows=(RowMove(expect=before, row=counter),),
    )


def _read(job: Job, profile: StandInSettings) -> Cryptogram:
    txn = job.txn
    assert txn.amount is not None, "no profile allows a request without an amount"
    return read_cryptogram(
        decode_tlv(txn.emv.reveal() if txn.emv else b""),
        version=profile.cryptogram_version,
        amount=txn.amount,
        sequence=txn.card_sequence,
    )


def _command(
    job: Job, profile: StandInSettings, cryptogram: Cryptogram
) -> VerifyCryptogram:
    assert job.txn.pan is not None, "asked before"
    return VerifyCryptogram(
        key=profile.cryptogram_key,
        version=profile.cryptogram_version,
        pan=job.txn.pan.reveal(),
        sequence=cryptogram.sequence,
        data=cryptogram.data,
        atc=cryptogram.atc,
        unpredictable=cryptogram.unpredictable,
        arqc=cryptogram.arqc,
        answer=APPROVALS[profile.cryptogram_version],
    )
