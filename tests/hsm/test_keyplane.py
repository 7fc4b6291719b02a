"""Working keys that change while payments run."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from psec.mac import generate_retail_mac

from isoswitch.codecs.canonical.errors import (
    HsmError,
    KeyPending,
    KeyRefused,
    MacMismatch,
    VerificationFailed,
)
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Use
from isoswitch.hsm.functions import tr31
from isoswitch.hsm.functions.kcv import customary_kcv
from isoswitch.hsm.functions.key import ENCRYPT, Key
from isoswitch.hsm.functions.tr31 import Header, ProtectionKey
from isoswitch.hsm.keychange import KeyStore
from isoswitch.hsm.keyfile import KeyFile, read_key_file, write_key_file
from isoswitch.hsm.keyplane import RETRY_S, KeyPlane
from isoswitch.hsm.keys import Mode
from isoswitch.hsm.keytable import KeyTable
from isoswitch.hsm.knownanswers import KnownAnswers
from isoswitch.hsm.port import (
    ActivateKey,
    AgreeKey,
    DropKey,
    GenerateMac,
    ImportKey,
    OfferKey,
    TranslatePin,
    VerifyMac,
    WorkingKey,
)
from isoswitch.hsm.service import CryptoService
from isoswitch.hsm.settings import Environment
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from tests.hsm.full_disk import full_disk
from tests.hsm.softhsm import AES_KEY, OTHER_TDES_KEY, TDES_KEY, VALUES, plan

NEW = KeyValue(bytes.fromhex("2F4AC8B3D0E6157F98EA13D5B66BC7A2"))
NEW_KEY = WorkingKey(2, customary_kcv(NEW, Algorithm.TDES))
KBPK = KeyValue(bytes.fromhex("9D4E1FA6037B52C8E1F4A96D0B3758C2" * 2))
DATA = b"a message of some length"
CAUSE = "link north"
Act = Callable[[CryptoService], object]
PLANS = {
    plan("n/zpk", "P0", "E"): OTHER_TDES_KEY,
    plan("n/zak", "M3", "C"): TDES_KEY,
    plan("t/tpk", "P0", "D"): VALUES["t/tpk"],
    plan("n/zmk", "K0", "B"): AES_KEY,
    plan("n/kbpk", "K1", "B", "aes", 32): KBPK,
    plan("n/kbpk-in", "K1", "D", "aes", 32): KBPK,
    plan("n/aes", "M6", "C", "aes"): VALUES["s/zak"],
}


class Clock:
    """Epoch seconds that tests move."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def vault() -> Vault:
    return Vault.of_value(SoftwareEngine(), AES_KEY)


@pytest.fixture
def path(tmp_path: Path, vault: Vault) -> Path:
    path = tmp_path / "keys.json"
    write_key_file(path, KeyFile(storage_key="storage-1", records=[]), vault)
    store = KeyStore(
        path, vault, operators=("ann", "bob"), environment=Environment.TEST
    )
    for each, value in PLANS.items():
        store.add(each, value, action="form")
    return path


def open_worker(
    path: Path,
    vault: Vault,
    clock: Clock,
    environment: Environment = Environment.TEST,
) -> CryptoService:
    plane = KeyPlane(
        path, open_vault=lambda _: vault, environment=environment, now=clock
    )
    return CryptoService(plane.table, KnownAnswers(vault.engine), plane=plane)


@pytest.fixture
def service(path: Path, vault: Vault, clock: Clock) -> CryptoService:
    return open_worker(path, vault, clock)


def block(usage: str = "M3", mode: str = "C", value: KeyValue = NEW) -> bytes:
    """Make the key block that a partner sends."""
    kbpk = ProtectionKey.load(SoftwareEngine(), KBPK, Algorithm.AES)
    header = Header(version="D", usage=usage, algorithm="T", mode=mode)
    return tr31.wrap(kbpk, header, value).encode()


def changed_block() -> bytes:
    """Give a key block with another last digit than it had."""
    *others, last = block()
    return bytes([*others, ord("1" if last == ord("0") else "0")])


def zone(value: KeyValue = NEW) -> bytes:
    """Encrypt a key under the zone master key."""
    zmk = Key.load(SoftwareEngine(), AES_KEY, Algorithm.TDES, ENCRYPT)
    return zmk.ecb(value.reveal())


def test_a_block_that_leaves_the_mode_open_gets_the_keys_own(
    service: CryptoService, path: Path, vault: Vault
) -> None:
    """X9.143, table 8: N permits every mode of its usage."""
    assert take(service, block(mode="N")).version == 2
    modes = {
        record.plan.mode
        for record in read_key_file(path, vault).records
        if record.plan.name == "n/zak"
    }
    assert modes == {Mode.GENERATE_AND_VERIFY}


def mac_under(value: KeyValue) -> bytes:
    """Make a retail MAC as the partner does."""
    return generate_retail_mac(value.reveal()[:8], value.reveal()[8:], DATA, 1, 8)


def take(
    service: CryptoService,
    payload: bytes,
    check_value: bytes = b"",
    *,
    name: str = "n/zak",
    under: str = "n/kbpk",
) -> WorkingKey:
    (result,) = service.execute(
        [
            ImportKey(
                name=name,
                under=under,
                payload=payload,
                check_value=check_value,
                is_legacy=under == "n/zmk",
                cause=CAUSE,
            )
        ]
    )
    return WorkingKey.decode(result)


def offer(service: CryptoService, name: str, under: str, **more: int) -> WorkingKey:
    more = {"is_legacy": under == "n/zmk", **more}
    command = OfferKey(name=name, under=under, cause=CAUSE, **more)
    (result,) = service.execute([command])
    return WorkingKey.decode(result)


def activate(service: CryptoService, name: str, key: WorkingKey, *, s: float) -> None:
    command = ActivateKey(
        name=name,
        version=key.version,
        check_value=key.check_value,
        overlap_s=s,
        cause=CAUSE,
    )
    service.execute([command])


def agree(service: CryptoService, name: str, key: WorkingKey) -> None:
    command = AgreeKey(
        name=name, version=key.version, check_value=key.check_value, cause=CAUSE
    )
    service.execute([command])


def generated(service: CryptoService, name: str = "n/zak") -> bytes:
    return service.execute([GenerateMac(key=name, data=DATA)])[0]


def verified(service: CryptoService, mac: bytes, name: str = "n/zak") -> bytes:
    return service.execute([VerifyMac(key=name, data=DATA, mac=mac)])[0]


def test_a_key_from_the_partner_is_pending_until_it_is_activated(
    service: CryptoService,
) -> None:
    key = take(service, block())
    assert key == WorkingKey(2, customary_kcv(NEW, Algorithm.TDES))
    # The partner may use it already; we do not.
    assert verified(service, mac_under(NEW)) == b"2"
    assert generated(service) == mac_under(TDES_KEY)
    activate(service, "n/zak", NEW_KEY, s=60)
    assert generated(service) == mac_under(NEW)
    assert verified(service, mac_under(NEW)) == b""


def test_the_old_key_is_accepted_for_its_window_and_no_longer(
    service: CryptoService, clock: Clock
) -> None:
    take(service, block())
    activate(service, "n/zak", NEW_KEY, s=60)
    clock.now += 59
    assert verified(service, mac_under(TDES_KEY)) == b""
    clock.now += 1
    with pytest.raises(MacMismatch):
        verified(service, mac_under(TDES_KEY))
    assert verified(service, mac_under(NEW)) == b""


def test_an_expired_key_is_removed_with_the_next_change(
    service: CryptoService, clock: Clock, path: Path, vault: Vault
) -> None:
    for expected in (2, 3, 4):
        key = offer(service, "n/zak", "n/kbpk")
        assert key.version == expected
        activate(service, "n/zak", key, s=60)
        clock.now += 61
    store = KeyStore(path, vault, operators=(), environment=Environment.TEST)
    states = [
        (each.plan.version, each.state.value)
        for each in store.list_keys()
        if each.plan.name == "n/zak"
    ]
    assert states == [(3, "retired"), (4, "active")]
    acts = [each.action for each in store.list_changes() if each.operators == (CAUSE,)]
    assert acts == [
        *("offer", "activate"),
        *("offer", "remove", "activate"),
        *("offer", "remove", "activate"),
    ]


@pytest.mark.parametrize("under", ["n/kbpk", "n/zmk"])
def test_an_offer_is_the_same_key_until_it_is_settled(
    service: CryptoService, under: str
) -> None:
    first = offer(service, "n/zak", under)
    again = offer(service, "n/zak", under)
    assert (first.version, first.check_value) == (again.version, again.check_value)
    service.execute([DropKey(name="n/zak", version=first.version, cause=CAUSE)])
    other = offer(service, "n/zak", under)
    assert other.check_value != first.check_value
    # Dropped again, as whoever got no answer asks: the new offer stays.
    service.execute([DropKey(name="n/zak", version=first.version + 9, cause=CAUSE)])
    assert offer(service, "n/zak", under).check_value == other.check_value
    assert generated(service) == mac_under(TDES_KEY)


def test_a_key_that_the_partner_was_not_told_of_gives_way_to_an_offer(
    service: CryptoService,
) -> None:
    take(service, block())
    ours = offer(service, "n/zak", "n/kbpk")
    assert ours.check_value != customary_kcv(NEW, Algorithm.TDES)
    with pytest.raises(MacMismatch):
        verified(service, mac_under(NEW))
    activate(service, "n/zak", ours, s=60)
    # It had its time: whoever sends it again is told so.
    with pytest.raises(KeyRefused, match="in use before"):
        take(service, block())


def test_a_key_that_gave_way_leaves_its_number_to_no_other(
    service: CryptoService,
) -> None:
    """Whoever took it may still mean to use it, and must not use ours instead."""
    taken = take(service, block())
    ours = offer(service, "n/zak", "n/kbpk")
    assert ours.version == taken.version + 1
    for act in (agree, lambda *key: activate(*key, s=60)):
        with pytest.raises(KeyRefused, match="has no version 2"):
            act(service, "n/zak", taken)
    service.execute([DropKey(name="n/zak", version=ours.version, cause=CAUSE)])
    assert offer(service, "n/zak", "n/kbpk").version == ours.version + 1
    assert generated(service) == mac_under(TDES_KEY)


def test_a_key_that_the_partner_is_told_of_gives_way_to_none(
    service: CryptoService,
) -> None:
    taken = take(service, block())
    for _ in range(2):
        agree(service, "n/zak", taken)
    with pytest.raises(KeyRefused, match="is pending"):
        offer(service, "n/zak", "n/kbpk")
    with pytest.raises(KeyRefused, match="agreed on"):
        take(service, block(value=AES_KEY))
    assert take(service, block()) == taken
    activate(service, "n/zak", taken, s=60)
    # Said again, as whoever got no answer does.
    agree(service, "n/zak", taken)
    assert generated(service) == mac_under(NEW)


@pytest.mark.parametrize("told", [b"", NEW_KEY.check_value[:2], b"\x01\x02\x03"])
def test_a_version_with_another_check_value_is_not_used(
    service: CryptoService, told: bytes
) -> None:
    another = WorkingKey(take(service, block()).version, told)
    for act in (agree, lambda *key: activate(*key, s=60)):
        with pytest.raises(KeyRefused, match="is another key"):
            act(service, "n/zak", another)
    assert generated(service) == mac_under(TDES_KEY)


@pytest.mark.parametrize(
    ("first", "then"), [(8, 16), (16, 8), (8, 0), (0, 8), (16, 24), (24, 0)]
)
def test_an_offer_of_another_length_is_another_key(
    service: CryptoService, first: int, then: int
) -> None:
    """Cut, it would be a key with the check value of another one."""
    before = offer(service, "t/tpk", "n/zmk", length=first)
    after = offer(service, "t/tpk", "n/zmk", length=then)
    is_same = (first, then) == (24, 0)
    assert (after.version, after == before) == (2 if is_same else 3, is_same)
    zmk = Key.load(SoftwareEngine(), AES_KEY, Algorithm.TDES, frozenset({Use.DECRYPT}))
    clear = zmk.ecb(after.payload, decrypt=True)
    assert len(clear) == (len(before.payload) if is_same else then or 16)
    assert (clear[:8] == clear[8:] or len(clear) == 8) is (then == 8)
    value = KeyValue(clear * (2 if len(clear) == 8 else 1))
    assert after.check_value == customary_kcv(value, Algorithm.TDES)


def test_an_aes_key_has_the_length_of_those_before_it(service: CryptoService) -> None:
    first = offer(service, "n/aes", "n/kbpk", length=8)
    again = offer(service, "n/aes", "n/kbpk")
    assert (first.version, first.check_value) == (again.version, again.check_value)


def test_a_version_that_an_operator_made_does_not_give_way(
    service: CryptoService, path: Path, vault: Vault
) -> None:
    store = KeyStore(path, vault, operators=("ann",), environment=Environment.TEST)
    store.rotate("n/zak")
    with pytest.raises(KeyRefused, match="is pending"):
        offer(service, "n/zak", "n/kbpk")


def test_an_offered_key_block_tells_the_partner_its_own_side(
    service: CryptoService,
) -> None:
    key = offer(service, "n/zpk", "n/kbpk")
    kbpk = ProtectionKey.load(SoftwareEngine(), KBPK, Algorithm.AES)
    header, value = tr31.unwrap(kbpk, key.payload.decode())
    assert (header.usage, header.mode, header.exportability) == ("P0", "D", "N")
    assert customary_kcv(value, Algorithm.TDES) == key.check_value


@pytest.mark.parametrize("length", [8, 16])
def test_an_offer_under_a_zone_key_is_the_encrypted_value(
    service: CryptoService, length: int
) -> None:
    key = offer(service, "n/zak", "n/zmk", length=length, check_bytes=4)
    zmk = Key.load(SoftwareEngine(), AES_KEY, Algorithm.TDES, frozenset({Use.DECRYPT}))
    clear = zmk.ecb(key.payload, decrypt=True)
    value = KeyValue(clear * (16 // length))
    assert len(clear) == length
    assert key.check_value == customary_kcv(value, Algorithm.TDES, length=4)
    activate(service, "n/zak", key, s=0)
    assert generated(service) == mac_under(value)


def test_a_key_under_a_zone_key_needs_its_check_value(service: CryptoService) -> None:
    check_value = customary_kcv(NEW, Algorithm.TDES)
    with pytest.raises(KeyRefused, match="check value"):
        take(service, zone(), under="n/zmk")
    with pytest.raises(KeyRefused, match="check value"):
        take(service, zone(), check_value[:2], under="n/zmk")
    with pytest.raises(VerificationFailed):
        take(service, zone(), bytes(3), under="n/zmk")
    assert take(service, zone(), check_value, under="n/zmk").version == 2


@pytest.mark.parametrize(
    ("payload", "check_value", "error"),
    [
        (b"", b"", VerificationFailed),
        (b"hello", b"", VerificationFailed),
        (bytes(range(256)), b"", VerificationFailed),
        (changed_block(), b"", VerificationFailed),
        (block(), bytes(3), VerificationFailed),
        (block("P0", "E"), b"", KeyRefused),
        (block("M3", "V"), b"", KeyRefused),
        (block("M1", "C"), b"", KeyRefused),
    ],
)
def test_what_is_not_the_next_key_changes_nothing(
    service: CryptoService,
    path: Path,
    payload: bytes,
    check_value: bytes,
    error: type[Exception],
) -> None:
    before = path.read_bytes()
    with pytest.raises(error) as caught:
        take(service, payload, check_value)
    assert NEW.reveal().hex() not in str(caught.value).lower()
    assert path.read_bytes() == before
    assert generated(service) == mac_under(TDES_KEY)


def test_a_key_for_both_sides_serves_ours(service: CryptoService) -> None:
    assert take(service, block("P0", "B"), name="n/zpk").version == 2
    assert take(service, block("P0", "E"), name="n/zpk").version == 2


def test_the_same_key_again_is_the_same_version(service: CryptoService) -> None:
    assert take(service, block()) == take(service, block())
    activate(service, "n/zak", NEW_KEY, s=60)
    activate(service, "n/zak", NEW_KEY, s=60)
    assert take(service, block()).version == 2


def test_a_key_that_was_in_use_before_is_not_taken_again(
    service: CryptoService, clock: Clock
) -> None:
    old = block(value=NEW)
    take(service, old)
    activate(service, "n/zak", NEW_KEY, s=10)
    for _ in range(2):
        activate(service, "n/zak", offer(service, "n/zak", "n/kbpk"), s=10)
        clock.now += 20
    with pytest.raises(KeyRefused, match="before"):
        take(service, old)


def test_our_own_offer_that_comes_back_is_not_taken(service: CryptoService) -> None:
    key = offer(service, "n/zak", "n/zmk")
    with pytest.raises(KeyRefused):
        take(service, key.payload, key.check_value, under="n/zmk")


def test_while_we_offer_a_key_none_is_taken(service: CryptoService) -> None:
    offer(service, "n/zak", "n/kbpk")
    with pytest.raises(KeyRefused, match="offered"):
        take(service, block())


def test_a_key_that_a_full_disk_did_not_take_is_taken_later(
    service: CryptoService, path: Path
) -> None:
    trail = path.with_suffix(".audit")
    room = trail.stat().st_size + 400
    assert path.stat().st_size > room
    with full_disk(at=room), pytest.raises(HsmError, match="cannot be changed"):
        take(service, block())
    assert take(service, block()).version == 2


def test_a_key_on_its_way_into_use_may_be_waited_for(service: CryptoService) -> None:
    offer(service, "n/zak", "n/kbpk")
    with pytest.raises(KeyPending, match="is offered by us"):
        take(service, block())
    agree(service, "n/zpk", take(service, block("P0", "E"), name="n/zpk"))
    with pytest.raises(KeyPending, match="is agreed on"):
        take(service, block("P0", "E", VALUES["t/tpk"]), name="n/zpk")


def test_a_later_key_of_the_partner_replaces_its_pending_one(
    service: CryptoService,
) -> None:
    take(service, block())
    assert take(service, block(value=AES_KEY)).version == 3
    assert verified(service, mac_under(AES_KEY)) == b"3"


@pytest.mark.parametrize(
    "act",
    [
        lambda service: offer(service, "n/zak", "n/kbpk-in"),
        lambda service: offer(service, "n/zak", "n/zpk"),
        lambda service: offer(service, "n/aes", "n/zmk"),
        lambda service: offer(service, "n/zak", "n/kbpk", is_legacy=True),
        lambda service: offer(service, "nobody", "n/kbpk"),
        lambda service: take(service, block(), under="n/zak"),
        lambda service: take(service, block(), name="nobody"),
        lambda service: activate(
            service, "n/zak", WorkingKey(9, NEW_KEY.check_value), s=1
        ),
    ],
)
def test_keys_serve_no_other_purpose(service: CryptoService, act: Act) -> None:
    with pytest.raises(KeyRefused):
        act(service)


def test_a_service_without_stored_keys_changes_none(vault: Vault) -> None:
    service = CryptoService(KeyTable(vault, []), KnownAnswers(vault.engine))
    with pytest.raises(KeyRefused):
        offer(service, "n/zak", "n/kbpk")


def test_every_worker_knows_what_one_has_answered(
    path: Path, vault: Vault, clock: Clock, service: CryptoService
) -> None:
    other = open_worker(path, vault, clock)
    take(service, block())
    assert verified(other, mac_under(NEW)) == b"2"
    activate(other, "n/zak", NEW_KEY, s=60)
    assert generated(service) == mac_under(NEW)


def test_a_damaged_file_leaves_the_keys_in_use(
    path: Path, service: CryptoService
) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"active", b"ACTIVE"))
    assert generated(service) == mac_under(TDES_KEY)
    path.unlink()
    assert generated(service) == mac_under(TDES_KEY)
    path.write_bytes(content)
    assert take(service, block()).version == 2


@contextmanager
def no_files_left() -> Iterator[None]:
    """Let this process open no more files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("pauses", [[RETRY_S / 2, RETRY_S / 2], [-3600.0]])
def test_keys_that_do_not_load_for_a_moment_are_loaded_later(
    path: Path,
    vault: Vault,
    clock: Clock,
    service: CryptoService,
    pauses: list[float],
) -> None:
    """A clock that is put back keeps nothing from being loaded."""
    other = open_worker(path, vault, clock)
    take(service, block())
    activate(service, "n/zak", NEW_KEY, s=60)
    with no_files_left():
        assert generated(other) == mac_under(TDES_KEY)
    for pause in pauses:
        assert generated(other) == mac_under(TDES_KEY)
        clock.now += pause
    assert generated(other) == mac_under(NEW)


def test_beside_a_trail_that_does_not_hold_nothing_is_known_of_a_key(
    path: Path, vault: Vault, clock: Clock
) -> None:
    store = KeyStore(path, vault, operators=("ann",), environment=Environment.TEST)
    store.rotate("n/zpk")
    store.trail.write_bytes(store.trail.read_bytes().replace(b"bob", b"eve", 1))
    service = open_worker(path, vault, clock)
    with pytest.raises(KeyRefused, match="does not hold"):
        take(service, block())
    with pytest.raises(KeyRefused, match="does not hold"):
        offer(service, "n/zpk", "n/kbpk")
    assert offer(service, "n/zak", "n/kbpk").version == 2


def test_a_trail_that_cannot_be_read_keeps_no_worker_from_its_start(
    path: Path, vault: Vault, clock: Clock
) -> None:
    trail = path.with_suffix(".audit")
    trail.rename(trail.with_suffix(".kept"))
    trail.mkdir()
    service = open_worker(path, vault, clock)
    assert generated(service) == mac_under(TDES_KEY)
    with pytest.raises(KeyRefused, match="does not hold"):
        take(service, block())


def test_a_new_storage_master_key_is_followed(
    path: Path, vault: Vault, clock: Clock
) -> None:
    target = Vault.of_value(vault.engine, KBPK)
    vaults = {"storage-1": vault, "storage-2": target}
    plane = KeyPlane(
        path, open_vault=vaults.__getitem__, environment=Environment.TEST, now=clock
    )
    service = CryptoService(plane.table, KnownAnswers(vault.engine), plane=plane)
    store = KeyStore(path, vault, operators=("ann",), environment=Environment.TEST)
    store.rewrap(target, storage_key="storage-2")
    take(service, block())
    activate(service, "n/zak", NEW_KEY, s=60)
    assert generated(service) == mac_under(NEW)


def test_published_keys_are_refused_in_production(
    path: Path, vault: Vault, clock: Clock
) -> None:
    store = KeyStore(path, vault, operators=("ann",), environment=Environment.TEST)
    for name in ("n/zak", "n/zmk", "t/tpk", "n/aes", "n/zpk"):
        store.retire(name, 1)
        store.remove(name, 1)
    store.generate(plan("n/zak", "M3", "C"))
    service = open_worker(path, vault, clock, Environment.PRODUCTION)
    with pytest.raises(KeyRefused, match="production"):
        take(service, block(value=KeyValue(b"\x11" * 16)))
    assert take(service, block()).version == 2


def test_a_pin_is_translated_under_the_new_keys(
    path: Path, vault: Vault, clock: Clock
) -> None:
    service = open_worker(path, vault, clock)
    block_under_old = bytes.fromhex("24b5254f5321bbc2")
    command = TranslatePin(
        source="t/tpk",
        target="n/zpk",
        block=block_under_old,
        pan="5544332211009966",
    )
    (before,) = service.execute([command])
    activate(service, "n/zpk", offer(service, "n/zpk", "n/kbpk"), s=60)
    (after,) = service.execute([command])
    assert before != after
    # A block under the terminal's old key is in flight while its new one is active.
    activate(service, "t/tpk", offer(service, "t/tpk", "n/zmk"), s=60)
    assert service.execute([command]) == [after]
    clock.now += 61
    with pytest.raises((VerificationFailed, HsmError)):
        service.execute([command])
