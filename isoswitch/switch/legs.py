"""The exchange with an issuer: building its request and trusting its answer.

The PIN block is translated, spliced into the encoded request and covered by the MAC in
one round trip to the crypto service; the reversal's material is sealed in the same one.
"""

from __future__ import annotations

from dataclasses import replace

import trio

from isoswitch.codecs.canonical.codes import Function, ReversalReason
from isoswitch.codecs.canonical.errors import (
    DecodeError,
    IsoswitchError,
    MacMismatch,
    VerificationFailed,
)
from isoswitch.codecs.canonical.sealing import pack_leg, unpack_reversal
from isoswitch.codecs.canonical.transaction import Outcome, Transaction
from isoswitch.codecs.dialects.dialect import Dialect, LegNumbers
from isoswitch.codecs.dialects.settlement import day_fields
from isoswitch.codecs.iso8583.message import Message
from isoswitch.hsm.port import (
    AnyCommand,
    DecryptData,
    EncryptData,
    GenerateMac,
    Hsm,
    Splice,
    TranslatePin,
    VerifyMac,
)
from isoswitch.switch.job import Job
from isoswitch.switch.links import Link
from isoswitch.switch.services import Services
from isoswitch.switch.units import Leg

MAC_BYTES = 8
PIN_BLOCK_BYTES = 8


class SealLost(IsoswitchError):
    """What was sealed cannot be opened any more: the version that sealed it is gone."""


async def prepare_leg(
    services: Services, job: Job, link: Link, *, owes_reversal: bool
) -> Leg:
    """Build the request for one endpoint: translated PIN block, MAC, sealed material.

    Raises
    ------
    PinBlockInvalid
        The terminal's PIN block is not one for this card.
    HsmUnavailable, KeyRefused
        The crypto service cannot do it; nothing was sent.
    EncodeError
        The endpoint's dialect cannot carry the transaction.
    """
    endpoint, txn = link.settings, job.txn
    numbers = LegNumbers(
        stan=job.numbers.stan,
        rrn=job.rrn,
        transmitted_at=services.clock.now(),
        acquirer_id=endpoint.acquirer_id,
    )
    day = day_fields(link.dialect, job.business_date)
    plain = link.dialect.to_request(txn, numbers, mac=True, extra=day)
    commands: list[AnyCommand] = []
    if owes_reversal:
        material = pack_leg(
            txn,
            mti=plain.mti,
            stan=numbers.stan,
            rrn=numbers.rrn,
            transmitted_at=numbers.transmitted_at,
            acquirer_id=endpoint.acquirer_id,
        )
        seal_key = services.settings.seal_key
        commands.append(EncryptData(key=seal_key, data=material))
    if txn.pin_block is not None and txn.pan is not None:
        assert job.terminal is not None, "only a registered terminal reaches a leg"
        commands.append(
            TranslatePin(
                source=job.terminal.tpk,
                target=endpoint.zpk,
                block=txn.pin_block.reveal(),
                pan=txn.pan.reveal(),
            )
        )
    commands.append(mac_command(link.dialect, plain, endpoint.zak))
    results = await services.hsm.run(*commands)
    block = results[-2] if txn.pin_block is not None else None
    return Leg(
        endpoint=endpoint.name,
        message=_complete(link.dialect, plain, mac=results[-1], block=block),
        sealed=results[0] if owes_reversal else b"",
        pin_verdict="none" if block is None else "translated",
        began_at=trio.current_time(),
    )


async def seal_advice(
    services: Services, txn: Transaction, link: Link, *, stan: str, rrn: str
) -> bytes:
    """Seal what an endpoint is to be told; its later reversal needs no more.

    Raises
    ------
    HsmUnavailable, KeyRefused
        The crypto service cannot do it; nothing was stored.
    EncodeError
        The endpoint's dialect cannot carry the transaction.
    """
    numbers = LegNumbers(
        stan=stan,
        rrn=rrn,
        transmitted_at=services.clock.now(),
        acquirer_id=link.settings.acquirer_id,
    )
    told = replace(txn, function=Function.ADVICE)
    plain = link.dialect.to_request(told, numbers, mac=True)
    material = pack_leg(
        told,
        mti=plain.mti,
        stan=numbers.stan,
        rrn=numbers.rrn,
        transmitted_at=numbers.transmitted_at,
        acquirer_id=numbers.acquirer_id,
        with_chip=True,
    )
    (sealed,) = await services.hsm.run(
        EncryptData(key=services.settings.seal_key, data=material)
    )
    return sealed


async def open_leg(services: Services, sealed: bytes) -> Transaction:
    """Give the reversal of a sealed leg; raises as ``open_sealed`` does."""
    packed = await open_sealed(services, sealed)
    return unpack_reversal(packed, reason=ReversalReason.UNSPECIFIED)


async def open_sealed(services: Services, sealed: bytes) -> bytes:
    """Give a packed leg: its card, and the numbers that name it.

    Raises
    ------
    SealLost
        No version of the key opens it; waiting does not help.
    HsmUnavailable, KeyRefused
        It cannot be opened now.
    """
    key = services.settings.seal_key
    try:
        (packed,) = await services.hsm.run(DecryptData(key=key, data=sealed))
    except VerificationFailed:
        msg = (
            f"no version of key {key} opens it: restore the one that sealed it, or "
            "settle it with the endpoint by hand"
        )
        raise SealLost(msg) from None
    return packed


async def read_answer(
    services: Services, job: Job, link: Link, answer: Message
) -> Outcome:
    """Give the outcome that an answer carries, once its MAC is verified.

    The answer to the terminal is authenticated in the same round trip: if the issuer's
    does not verify, neither is made.

    Raises
    ------
    MacMismatch, HsmUnavailable
        The answer cannot be trusted, which is as good as none.
    DecodeError
        The answer makes no sense.
    EncodeError
        The terminal cannot be told what it says.
    """
    outcome = link.dialect.to_outcome(answer, job.txn)
    response = job.response(outcome)
    if not job.tak:
        await verify_answer(services.hsm, link, answer)
        return outcome
    mac = await verify_answer(
        services.hsm, link, answer, mac_command(job.dialect, response, job.tak)
    )
    job.keep_signed(outcome, with_mac(job.dialect, response, mac))
    return outcome


async def verify_answer(
    hsm: Hsm, link: Link, answer: Message, *then: AnyCommand
) -> bytes:
    """Verify the MAC of an answer, run what follows, and give the last result.

    The link counts the answers in a row that fail.

    Raises
    ------
    MacMismatch
        The MAC is absent or wrong; what follows was not run.
    """
    try:
        command = verify_command(link.dialect, answer, link.settings.zak)
        results = await hsm.run(command, *then)
    except MacMismatch:
        link.mac_failures += 1
        link.counts.mac_failures += 1
        raise
    link.mac_failures = 0
    return results[-1]


def verify_command(dialect: Dialect, message: Message, key: str) -> VerifyMac:
    """Make the command that verifies a message; raises MacMismatch without a MAC."""
    mac_field = dialect.mac_field(message)
    if mac_field is None:
        msg = "the message carries no MAC"
        raise MacMismatch(msg)
    return VerifyMac(
        key=key,
        data=message.raw[: message.offset(mac_field)],
        mac=_octets(message, mac_field),
    )


def mac_command(dialect: Dialect, message: Message, key: str) -> GenerateMac:
    """Make the command that authenticates a message with a place for its MAC.

    When the message holds a PIN block, the result of the command before is put there.
    """
    mac_field = dialect.mac_field(message)
    assert mac_field is not None, "the message was built with a MAC field"
    splice = None
    if 52 in message:
        start, end = message.offset(52), message.end(52)
        splice = Splice(offset=start, as_hex=end - start == 2 * PIN_BLOCK_BYTES)
    data = message.raw[: message.offset(mac_field)]
    return GenerateMac(key=key, data=data, length=MAC_BYTES, splice=splice)


async def authenticate(
    hsm: Hsm, dialect: Dialect, message: Message, key: str
) -> Message:
    """Fill in the MAC of a message that was built with a place for it."""
    (mac,) = await hsm.run(mac_command(dialect, message, key))
    return with_mac(dialect, message, mac)


def with_mac(dialect: Dialect, message: Message, mac: bytes) -> Message:
    """Put a MAC into the place that a message has for it."""
    return _complete(dialect, message, mac=mac, block=None)


def _complete(
    dialect: Dialect, message: Message, *, mac: bytes, block: bytes | None
) -> Message:
    mac_field = dialect.mac_field(message)
    assert mac_field is not None, "the message was built with a MAC field"
    changes: dict[int, str | bytes | None] = {mac_field: mac}
    if block is not None:
        changes[52] = block
    return message.replace(changes)


def _octets(message: Message, field: int) -> bytes:
    value = message[field]
    if isinstance(value, str):
        reason = "the MAC is not binary"
        raise DecodeError(reason, field=str(field))
    return value
