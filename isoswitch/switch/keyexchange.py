"""Changes the working keys of links while they carry money (0800/0810).

We offer a key, or the endpoint does; either way both sides accept the new one before
anybody uses it, and the old one for a while after::

    we offer                            they offer
    new key pending, accepted           0800 read, new key pending, accepted
    0800 ------------------------->     (bad check value: declined, nothing changes)
    <------------------------- 0810     0810 ------------------------->
    new key active                      new key active

An offer without an answer is made again with the same key, because the endpoint may
have taken it. While we offer, the endpoint's own offers are declined, and while we take
one of its keys, ours wait: two changes that cross would leave each side with the
other's key. Other processes may run sessions of the same link, so the crypto process
has the last word: it keeps a key before the endpoint hears that we took it, and then
offers none of ours until that one is in use. What may be replayed is refused by
the crypto process, which takes no key twice; and a copy of a message that was declined
is declined again, because who sent it has given that key up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import structlog
import trio

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.codecs.canonical.errors import (
    ConfigError,
    DecodeError,
    HsmError,
    KeyPending,
    KeyRefused,
    LinkDown,
    NoAnswer,
    StoreUnavailable,
    VerificationFailed,
)
from isoswitch.codecs.canonical.transaction import Outcome
from isoswitch.codecs.dialects.key_change import (
    KeyPurpose,
    TransportedKey,
    read_key_change,
    write_key_change,
)
from isoswitch.codecs.iso8583.message import Message
from isoswitch.hsm.port import (
    ActivateKey,
    AgreeKey,
    DropKey,
    ImportKey,
    OfferKey,
    WorkingKey,
)
from isoswitch.journal.records import RecordKind
from isoswitch.switch.incoming import NetworkRequest
from isoswitch.switch.keyjournal import AGREED, KeyEvent, note_key, read_story
from isoswitch.switch.links import Link
from isoswitch.switch.ports import Random
from isoswitch.switch.services import Services
from isoswitch.switch.settings import KeyExchangeSettings

TICK_S = 1.0
INBOX_MAX = 16
DECLINED_MAX = 64
CHANGED = "changed"

# Why a key of the endpoint is not taken; the first class that fits decides.
_CODES = {
    VerificationFailed: ResponseCode.CRYPTOGRAPHIC_ERROR,
    KeyPending: ResponseCode.SYSTEM_MALFUNCTION,
    KeyRefused: ResponseCode.SECURITY_VIOLATION,
    HsmError: ResponseCode.SYSTEM_MALFUNCTION,
}

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """How the change of one key ended, for an operator."""

    key: str
    version: int
    check_value: str
    result: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """What the journal keeps of the key."""
        return {"version": self.version, "check_value": self.check_value}


class _Lane:
    """The key changes of one link, one after the other."""

    def __init__(self, link: Link, profile: KeyExchangeSettings) -> None:
        self.link = link
        self.profile = profile
        self.cause = f"link {link.settings.name}"
        self.names: Mapping[KeyPurpose, str] = {
            KeyPurpose.PIN: link.settings.zpk,
            KeyPurpose.MAC: link.settings.zak,
        }
        self.lock = trio.Lock()
        self.send, self.inbox = trio.open_memory_channel[NetworkRequest](INBOX_MAX)
        # The answers to messages that were declined, by the digests of those.
        self.declined: dict[bytes, ResponseCode] = {}
        # What we have begun to offer, and what both agreed on but is not active yet.
        self.to_offer: list[KeyPurpose] = []
        self.agreed: dict[str, WorkingKey] = {}
        self.retry_at = 0.0
        self.changed_at = trio.current_time()
        self.sent_before = 0

    def find_reason(self, *, watches_age: bool) -> str:
        """Say why a key change is due now; empty when none is.

        Of several nodes one watches the age: all would offer the same keys at once.
        """
        profile, link = self.profile, self.link
        now = trio.current_time()
        if now < self.retry_at or not link.is_up or self.lock.locked():
            return ""
        if self.to_offer:
            return "an offer was not answered"
        is_old = bool(profile.age_s) and now - self.changed_at >= profile.age_s
        if is_old and watches_age:
            return "age"
        if profile.uses_max and link.sent_count - self.sent_before >= profile.uses_max:
            return "uses"
        if profile.mac_failures_max and link.mac_failures >= profile.mac_failures_max:
            return "MAC failures"
        return ""

    def decline(self, message: Message, code: ResponseCode) -> None:
        """Keep that a message was declined, for when a copy of it comes."""
        if len(self.declined) >= DECLINED_MAX:
            del self.declined[next(iter(self.declined))]
        self.declined[_digest(message)] = code

    def begin_anew(self) -> None:
        """Count age and uses from now."""
        self.changed_at = trio.current_time()
        self.sent_before = self.link.sent_count
        self.link.mac_failures = 0


class _Refusal(Exception):
    """Why a key of the endpoint is not taken."""

    def __init__(self, code: ResponseCode, reason: str) -> None:
        self.code = code
        self.reason = reason
        super().__init__(reason)


class KeyExchange:
    """The key changes of all links that have a profile for them."""

    def __init__(self, links: Mapping[str, Link], *, random: Random) -> None:
        self._random = random
        self._lanes = {
            name: _Lane(link, link.settings.key_exchange)
            for name, link in links.items()
            if link.settings.key_exchange is not None
        }

    def adopt(self, before: KeyExchange) -> None:
        """Decline on what was declined on these links under earlier settings."""
        for name in self._lanes.keys() & before._lanes.keys():
            self._lanes[name].declined = before._lanes[name].declined

    def put(self, request: NetworkRequest) -> None:
        """Take a key that an endpoint sends; too many at once are left unanswered."""
        lane = self._lanes.get(request.endpoint)
        if lane is None:
            log.warning("key_refused", endpoint=request.endpoint, reason="no profile")
            # A connection that ends has said so itself.
            with suppress(LinkDown):
                request.reply(Outcome(code=ResponseCode.INVALID_TRANSACTION), {})
            return
        try:
            lane.send.send_nowait(request)
        except trio.WouldBlock:
            log.warning("key_dropped", endpoint=request.endpoint)

    async def run(self, services: Services) -> None:
        """Change keys when it is time, and take those that come, until cancelled."""
        async with trio.open_nursery() as nursery:
            for lane in self._lanes.values():
                nursery.start_soon(self._serve, services, lane)

    async def order(
        self, services: Services, endpoint: str, *, operator: str
    ) -> list[Change]:
        """Change the keys of a link now, on an operator's word.

        Raises
        ------
        ConfigError
            No such link, or it has no profile for key changes.
        """
        lane = self._lanes.get(endpoint)
        if lane is None:
            msg = f"endpoint {endpoint} has no key_exchange; add the table to it"
            raise ConfigError(msg)
        body = {"order": "exchange keys", "endpoint": endpoint, "operator": operator}
        await services.recorder.note(RecordKind.OPERATOR, "", body)
        return await self._exchange(services, lane, f"operator {operator}")

    async def _serve(self, services: Services, lane: _Lane) -> None:
        # A store that can be read again tells nobody.
        while not await _resume(services, lane):  # noqa: ASYNC110
            await trio.sleep(TICK_S)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep, services, lane)
            nursery.start_soon(_take_all, services, lane)

    async def _keep(self, services: Services, lane: _Lane) -> None:
        while True:
            try:
                if not lane.lock.locked():
                    await _settle(services, lane)
                watches_age = services.leases.drains(lane.link.settings)
                reason = lane.find_reason(watches_age=watches_age)
                if reason:
                    await self._exchange(services, lane, reason)
            except (StoreUnavailable, HsmError, VerificationFailed) as error:
                services.health.notice("key_change_postponed", error, cause=lane.cause)
                self._pause(lane)
            await trio.sleep(TICK_S)

    async def _exchange(
        self, services: Services, lane: _Lane, reason: str
    ) -> list[Change]:
        """Offer every key of a link, until one is not taken."""
        changes: list[Change] = []
        async with lane.lock:
            # What the partner sent and we have agreed to does not give way to ours.
            await _settle(services, lane)
            lane.to_offer = lane.to_offer or list(KeyPurpose)
            while lane.to_offer:
                change, is_taken = await _offer(
                    services, lane, lane.to_offer[0], reason
                )
                changes.append(change)
                if not is_taken:
                    self._pause(lane)
                    return changes
                lane.to_offer.pop(0)
            lane.begin_anew()
        return changes

    def _pause(self, lane: _Lane) -> None:
        pause_s = lane.profile.retry_s * (0.5 + self._random.random())
        lane.retry_at = trio.current_time() + pause_s


async def _offer(
    services: Services, lane: _Lane, purpose: KeyPurpose, reason: str
) -> tuple[Change, bool]:
    """Offer one key; tells how that ended, and whether the endpoint took it."""
    name, link, profile = lane.names[purpose], lane.link, lane.profile
    command = OfferKey(
        name=name, under=profile.under, is_legacy=profile.is_legacy, cause=lane.cause
    )
    try:
        key = WorkingKey.decode((await services.hsm.run(command))[0])
    except KeyRefused:
        await _adopt(services, lane, name)
        raise
    change = Change(
        key=name, version=key.version, check_value=key.check_value.hex().upper()
    )
    sent = TransportedKey(
        payload=key.payload,
        check_value=key.check_value,
        is_block=not profile.is_legacy,
    )
    fields = write_key_change(link.dialect, purpose, sent)
    await note_key(
        services,
        name,
        KeyEvent.OFFERED,
        endpoint=link.settings.name,
        reason=reason,
        **change.facts,
    )
    try:
        answer = await link.manage(Kind.KEY_CHANGE, extra=fields)
    except (LinkDown, NoAnswer) as error:
        # The key stays pending and is offered again: it may have been taken.
        log.warning("key_unconfirmed", key=name, reason=str(error))
        return replace(change, result=str(error)), False
    fault = _find_fault(link, answer, key)
    if fault:
        drop = DropKey(name=name, version=key.version, cause=lane.cause)
        await services.hsm.run(drop)
        await note_key(services, name, KeyEvent.REFUSED, reason=fault, **change.facts)
        lane.to_offer.clear()
        log.error("key_refused", key=name, cause=lane.cause, reason=fault)
        return replace(change, result=fault), False
    await note_key(services, name, KeyEvent.CONFIRMED, **change.facts)
    lane.agreed[name] = key
    await _settle(services, lane)
    return replace(change, result=CHANGED), True


def _find_fault(link: Link, answer: Message, key: WorkingKey) -> str:
    """Say why an answer does not confirm a key; empty when it does.

    An approval need not repeat the check value; one that differs confirms another key.
    """
    code = link.dialect.to_code(answer)
    if code is not ResponseCode.APPROVED:
        return f"declined with {code}"
    try:
        _, told = read_key_change(link.dialect, answer)
    except DecodeError:
        return ""
    if not key.check_value.startswith(told.check_value):
        return "confirmed with another check value"
    return ""


async def _take_all(services: Services, lane: _Lane) -> None:
    """Take the keys that an endpoint sends, one after the other."""
    async for request in lane.inbox:
        try:
            await _take(services, lane, request)
        except (StoreUnavailable, HsmError, VerificationFailed, LinkDown) as error:
            # Without an answer the endpoint sends the same key again.
            log.error("key_not_answered", cause=lane.cause, reason=str(error))


async def _take(services: Services, lane: _Lane, request: NetworkRequest) -> None:
    """Take one key of the endpoint, unless we offer one ourselves."""
    declined = lane.declined.get(_digest(request.message))
    if declined is not None:
        request.reply(Outcome(code=declined), {})
        return
    try:
        if lane.lock.locked():
            raise _Refusal(ResponseCode.SYSTEM_MALFUNCTION, "we offer a key ourselves")
        async with lane.lock:
            await _take_alone(services, lane, request)
    except _Refusal as refusal:
        body = {
            "event": "key refused",
            "endpoint": request.endpoint,
            "reason": refusal.reason,
        }
        await services.recorder.note(RecordKind.LINK, "", body)
        log.error("key_refused", cause=lane.cause, reason=refusal.reason)
        lane.decline(request.message, refusal.code)
        request.reply(Outcome(code=refusal.code), {})


async def _take_alone(services: Services, lane: _Lane, request: NetworkRequest) -> None:
    """Import a key, keep it, say so, use it; raises _Refusal."""
    await _settle(services, lane)
    purpose, command = _read_offer(lane, request)
    name = command.name
    key = await _import(services, lane, command)
    await note_key(
        services,
        name,
        KeyEvent.ACCEPTED,
        endpoint=request.endpoint,
        version=key.version,
        check_value=key.check_value.hex().upper(),
    )
    await _keep_key(services, lane, name, key)
    # The answer stands in the queue before anything that the new key authenticates.
    told = TransportedKey(
        payload=b"", check_value=key.check_value, is_block=not lane.profile.is_legacy
    )
    request.reply(
        Outcome(code=ResponseCode.APPROVED),
        write_key_change(lane.link.dialect, purpose, told),
    )
    lane.agreed[name] = key
    await _settle(services, lane)
    lane.begin_anew()


async def _keep_key(
    services: Services, lane: _Lane, name: str, key: WorkingKey
) -> None:
    """See that an imported key gives way to no other any more; raises _Refusal."""
    command = AgreeKey(
        name=name, version=key.version, check_value=key.check_value, cause=lane.cause
    )
    try:
        await services.hsm.run(command)
    except KeyRefused as error:
        # Another process offers a key of ours since.
        reason = str(error)
        await note_key(
            services, name, KeyEvent.REFUSED, version=key.version, reason=reason
        )
        raise _Refusal(ResponseCode.SYSTEM_MALFUNCTION, reason) from None


def _read_offer(lane: _Lane, request: NetworkRequest) -> tuple[KeyPurpose, ImportKey]:
    """Read the key that a message brings; raises _Refusal."""
    profile = lane.profile
    try:
        purpose, sent = read_key_change(lane.link.dialect, request.message)
    except DecodeError as error:
        raise _Refusal(ResponseCode.FORMAT_ERROR, str(error)) from None
    if sent.is_block is profile.is_legacy:
        reason = "the link's profile wants another form of keys"
        raise _Refusal(ResponseCode.SECURITY_VIOLATION, reason)
    return purpose, ImportKey(
        name=lane.names[purpose],
        under=profile.under,
        payload=sent.payload,
        check_value=sent.check_value,
        is_legacy=not sent.is_block,
        cause=lane.cause,
    )


async def _import(services: Services, lane: _Lane, command: ImportKey) -> WorkingKey:
    """Have the crypto process store a key; raises _Refusal."""
    try:
        try:
            (result,) = await services.hsm.run(command)
        except KeyPending:
            # What was agreed on comes first.
            await _adopt(services, lane, command.name)
            await _settle(services, lane)
            (result,) = await services.hsm.run(command)
    except (VerificationFailed, HsmError) as error:
        code = next(code for kind, code in _CODES.items() if isinstance(error, kind))
        raise _Refusal(code, str(error)) from None
    return WorkingKey.decode(result)


async def _adopt(services: Services, lane: _Lane, name: str) -> None:
    """Find what was agreed on and not used: another process, or a reply, was lost."""
    story = await read_story(services.store, name)
    if story.event in AGREED:
        lane.agreed[name] = story.key


async def _settle(services: Services, lane: _Lane) -> None:
    """Use the keys that both sides have agreed on."""
    for name, key in list(lane.agreed.items()):
        version = key.version
        command = ActivateKey(
            name=name,
            version=version,
            check_value=key.check_value,
            overlap_s=lane.profile.overlap_s,
            cause=lane.cause,
        )
        try:
            await services.hsm.run(command)
        except KeyRefused as error:
            # Somebody removed it; what we have is all that is left.
            log.error("key_lost", key=name, version=version, reason=str(error))
            await note_key(
                services, name, KeyEvent.REFUSED, version=version, reason=str(error)
            )
        else:
            await note_key(services, name, KeyEvent.ACTIVATED, version=version)
            log.info("key_activated", key=name, version=version)
        if lane.agreed.get(name) is key:
            del lane.agreed[name]


async def _resume(services: Services, lane: _Lane) -> bool:
    """Go on where an earlier run stopped; False when the store cannot tell where."""
    try:
        stories = {
            purpose: await read_story(services.store, name)
            for purpose, name in lane.names.items()
        }
    except StoreUnavailable as error:
        services.health.notice("key_change_postponed", error, cause=lane.cause)
        return False
    for purpose, story in stories.items():
        name = lane.names[purpose]
        if story.event in AGREED:
            lane.agreed[name] = story.key
        elif story.event is KeyEvent.OFFERED:
            lane.to_offer.append(purpose)
        if story.activated_at:
            age = services.clock.now() - datetime.fromisoformat(story.activated_at)
            lane.changed_at = min(
                lane.changed_at, trio.current_time() - age.total_seconds()
            )
    return True


def _digest(message: Message) -> bytes:
    return hashlib.sha256(message.raw).digest()
