"""What the switch is told: typed settings, already checked by ``config.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import time
from enum import StrEnum
from pathlib import Path
from typing import Literal, Protocol

from isoswitch.codecs.canonical.codes import Kind, ResponseCode
from isoswitch.routing.bins import Span
from isoswitch.routing.health import HealthPolicy

DAY_S = 86_400.0
# In place of a certificate: the API speaks for this terminal, and nobody else can.
SERVER_PIN = "merchant's server"


class Address(Protocol):
    """Where a counterparty is reached."""

    @property
    def name(self) -> str:
        """The name of the counterparty."""
        ...

    @property
    def host(self) -> str:
        """Its host name or address."""
        ...

    @property
    def port(self) -> int:
        """Its port."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFiles:
    """PEM files of one side of mutual TLS."""

    certificate: Path
    key: Path
    ca: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerSettings:
    """Where terminals connect, and how they speak.

    ``header`` is ``""`` or ``"tpdu"``. ``frame_timeout_s`` bounds the time from the
    first byte of a frame to its last; ``idle_timeout_s`` the time between frames.
    ``overload_code`` is what terminals here understand as "not now". A connection ends
    after about ``age_s_max`` (0: never) when nothing is in flight on it, so that
    terminals spread over nodes again. With ``shares_port`` other workers listen here.
    """

    name: str
    host: str
    port: int
    dialect: str
    framing: str
    header: str = ""
    tls: TlsFiles | None = None
    connections_max: int = 10_000
    in_flight_max: int = 64
    frame_bytes_max: int = 4096
    frame_timeout_s: float = 10.0
    idle_timeout_s: float = 600.0
    overload_code: ResponseCode = ResponseCode.SYSTEM_MALFUNCTION
    age_s_max: float = 0.0
    shares_port: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyExchangeSettings:
    """How the working keys of a link change while it carries money.

    ``under`` protects them: a key block protection key, or with ``is_legacy`` a key
    encryption key. We offer new ones after ``age_s``, after ``uses_max`` requests, or
    when ``mac_failures_max`` answers in a row did not verify; 0 switches a trigger
    off. An old key is accepted for ``overlap_s``. What failed is tried again after
    about ``retry_s``.
    """

    under: str
    is_legacy: bool = False
    age_s: float = 0.0
    uses_max: int = 0
    mac_failures_max: int = 5
    overlap_s: float = 300.0
    retry_s: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminalSettings:
    """A registered terminal (DE 41) of a merchant (DE 42) and its key names.

    ``tak`` empty means that its messages carry no MAC. ``certificate_pin`` is the
    SHA-256 of its public key (SPKI) in hex, empty for plain TCP. With a ``tmk``, every
    sign-in brings new working keys under it: key blocks, or with ``is_legacy``
    encrypted keys, and with ``has_single_length`` those of single DES. Old ones are
    accepted for ``key_overlap_s``.
    With ``partial_approvals`` it can go on with less than it asked for, also where its
    messages do not say so.
    """

    id: str
    merchant_id: str
    tpk: str
    tak: str = ""
    currency: str = "978"
    certificate_pin: str = ""
    tmk: str = ""
    is_legacy: bool = False
    has_single_length: bool = False
    key_overlap_s: float = 300.0
    partial_approvals: bool = False


def server_terminal(
    terminal_id: str, merchant_id: str, currency: str
) -> TerminalSettings:
    """Give the terminal that a merchant's server is; it has no keys and no PINs."""
    return TerminalSettings(
        id=terminal_id,
        merchant_id=merchant_id,
        tpk="",
        currency=currency,
        certificate_pin=SERVER_PIN,
    )


def is_server(terminal: TerminalSettings | None) -> bool:
    """Whether a terminal is a merchant's server."""
    return terminal is not None and terminal.certificate_pin == SERVER_PIN


@dataclass(frozen=True, slots=True, kw_only=True)
class StandInSettings:
    """When, and how far, the switch approves in place of an issuer that is away.

    ``floor_minor`` bounds one approval. A card gets at most ``card_count_max`` a
    business day, over ``card_minor_max`` together; an issuer is owed at most
    ``total_minor_max`` that it has not been told of. Requests with a PIN or with chip
    data, which nobody verifies here, are approved only where the profile says so;
    after the issuer was silent only with ``after_silence``. Approval codes begin with
    ``approval_prefix``.
    With ``cryptogram_key``, the issuer's master key, cryptograms of chips are verified
    as ``cryptogram_version`` has it. ``negative`` are cards that get nothing, by keyed
    hash, and what is said instead.
    """

    name: str
    currency: str
    floor_minor: int
    card_count_max: int
    card_minor_max: int
    total_minor_max: int
    kinds: frozenset[Kind] = frozenset({Kind.PURCHASE})
    with_pin: bool = False
    with_chip: bool = False
    after_silence: bool = False
    approval_prefix: str = "S"
    cryptogram_key: str = ""
    cryptogram_version: str = "visa-18"
    negative: Mapping[str, ResponseCode] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PayeeSettings:
    """Where a merchant is paid by instant transfer, and what its payment codes say.

    ``house`` is the clearing house, ``bank`` the BIC that keeps ``account``;
    ``country`` has two letters. Results are told to ``callback_url``, where there is
    one.
    """

    house: str
    account: str
    bank: str
    city: str
    country: str
    callback_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MerchantSettings:
    """A card acceptor (DE 42); ``country`` empty is the switch's.

    It may complete ``completion_over_percent`` more than it had set aside, where it
    has its own tolerance, and refund up to ``unlinked_refund_max_minor`` at a time
    without naming a purchase. Only a ``payee`` has payment codes.
    """

    id: str
    name: str
    mcc: str
    country: str = ""
    completion_over_percent: int | None = None
    unlinked_refund_max_minor: int = 0
    payee: PayeeSettings | None = None


class VoidStyle(StrEnum):
    """What an endpoint gets when a terminal voids a transaction."""

    REVERSAL = "reversal"
    VOID = "void"


class Role(StrEnum):
    """Who opens the connections of a link."""

    CLIENT = "client"
    SERVER = "server"


class SignOn(StrEnum):
    """Who signs on when a connection is new."""

    US = "us"
    THEM = "them"
    NOBODY = "nobody"


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """A counterparty that authorises: addresses, dialect, keys, limits, timers.

    As a client we connect to ``host`` and ``port``; as a server we listen there, and
    only ``peers`` (addresses or networks) get in, on every worker where the port is
    shared (``shares_port``). ``one_shot`` opens a connection
    for each request. Only the node that ``owner`` names connects, or with
    ``leased`` the one that holds the lease for it. With ``cuts_day`` its cutover
    ends our business day too.
    ``header_value`` stands before our own requests. ``match_fields`` pair an answer
    with its request, ``echo_fields`` must come back unchanged. What is in flight when
    its connection is lost may be answered on another, unless it is to ``fail_fast``.
    ``not_processed`` are the answers by which it says that it has decided nothing, so
    that the next candidate may be asked; ``stand_in`` is the profile by which we
    approve in its place. ``saf_retry_s`` is the first pause of store and forward,
    doubled up to ``saf_retry_max_s``; after ``saf_refusals_max`` refusals an entry is
    quarantined. With ``reconciles`` it gets the totals of each closed day. A void is
    told in its ``void_style``: asked for, or as a reversal. It
    ``tells_expiry`` to what forgets nothing by itself. One whose payers confirm is
    asked again every ``poll_s``, until ``confirm_s`` after the request came.
    """

    name: str
    host: str
    port: int
    dialect: str
    framing: str
    acquirer_id: str
    header: str = ""
    header_value: bytes = b""
    zpk: str
    zak: str
    role: Role = Role.CLIENT
    peers: tuple[str, ...] = ()
    sign_on: SignOn = SignOn.US
    one_shot: bool = False
    fail_fast: bool = False
    reconciles: bool = False
    shares_port: bool = False
    owner: str = ""
    leased: bool = False
    cuts_day: bool = False
    connections: int = 1
    request_timeout_s: float = 5.0
    match_fields: tuple[int, ...] = (11, 37)
    echo_fields: tuple[int, ...] = (2, 3, 4, 11, 41)
    frame_bytes_max: int = 4096
    in_flight_max: int = 2000
    echo_idle_s: float = 30.0
    echo_misses_max: int = 2
    reconnect_min_s: float = 0.2
    reconnect_max_s: float = 10.0
    connect_timeout_s: float = 5.0
    saf_retry_s: float = 2.0
    saf_retry_max_s: float = 60.0
    saf_refusals_max: int = 5
    saf_window: int = 16
    not_processed: frozenset[ResponseCode] = frozenset()
    stand_in: str = ""
    void_style: VoidStyle = VoidStyle.REVERSAL
    tells_expiry: bool = True
    key_exchange: KeyExchangeSettings | None = None
    confirm_s: float = 0.0
    poll_s: float = 2.0

    @property
    def is_server(self) -> bool:
        """Whether the endpoint connects to us."""
        return self.role is Role.SERVER


@dataclass(frozen=True, slots=True, kw_only=True)
class AdmissionSettings:
    """How much may begin at once; what is above is refused at once.

    A terminal may ask for ``terminal_burst`` things in a row and for
    ``terminal_per_s`` in the long run; the next two bound what is in flight.
    ``arrivals_max`` bounds everything that is being decided, repeats and reversals
    too: what comes above it is not heard, and comes again.
    """

    terminal_per_s: float = 5.0
    terminal_burst: int = 10
    merchant_in_flight_max: int = 500
    in_flight_max: int = 1000
    arrivals_max: int = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KindSettings:
    """The terms of the transaction kinds.

    A pre-authorisation waits ``held_s`` for its completion, which may exceed it by
    ``completion_over_percent``, by another percentage for some merchant categories.
    A till pays out ``cashback_max_minor`` at most. Terminals may ask to change the
    ``noted_files``, which an operator then does.
    """

    held_s: float = 7 * DAY_S
    completion_over_percent: int = 0
    completion_over_percent_by_mcc: Mapping[str, int] = field(default_factory=dict)
    cashback_max_minor: int = 0
    noted_files: frozenset[str] = frozenset()

    def over_percent(self, merchant: MerchantSettings | None) -> int:
        """Give by how much a merchant's completion may exceed what was set aside."""
        if merchant is None:
            return self.completion_over_percent
        if merchant.completion_over_percent is not None:
            return merchant.completion_over_percent
        return self.completion_over_percent_by_mcc.get(
            merchant.mcc, self.completion_over_percent
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningSettings:
    """Who signs the documents of a link, and with which keys.

    We sign with ``key`` of the crypto service and call it ``name``; the other side
    signs as ``their_name``, which ``their_public`` verifies (SubjectPublicKeyInfo).
    """

    key: str
    name: str
    their_name: str
    their_public: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseSettings:
    """A clearing house: its address, its timers' profile, and who we are there.

    ``member`` is the BIC under which we send; ``profile`` a name in
    ``clearing/profiles.py``. With ``signing`` no document passes unsigned, either way.
    ``accounts`` gives the ledger's account for the number of each customer of ours, of
    whom some are ``blocked``. Documents travel in frames over TCP or by HTTPS, over TLS
    with ``tls``. A recall for one of the reasons in ``recalls_agreed`` is
    followed without asking the customer.
    """

    name: str
    host: str
    port: int
    member: str
    profile: str = "default"
    signing: SigningSettings | None = None
    accounts: Mapping[str, str] = field(default_factory=dict)
    blocked: frozenset[str] = frozenset()
    recalls_agreed: frozenset[str] = frozenset({"AM09", "DS24", "DUPL", "TECH"})
    transport: Literal["tcp", "https"] = "tcp"
    tls: TlsFiles | None = None
    framing: str = "bin4"
    # A document and the signature before it.
    frame_bytes_max: int = 264_192
    frame_timeout_s: float = 10.0
    idle_timeout_s: float = 600.0
    connect_timeout_s: float = 5.0
    reconnect_min_s: float = 0.2
    reconnect_max_s: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ContactlessSettings:
    """What a tap may do without a PIN, in minor units of the default currency.

    ``taps_max`` and ``sum_max_minor`` count since the last PIN of the account. Who was
    verified by the device itself may pay ``device_max_minor``, 0 for any amount.
    ``devices`` have limits of their own; the first that fits counts.
    """

    tap_max_minor: int = 5_000
    taps_max: int = 5
    sum_max_minor: int = 15_000
    device_max_minor: int = 0
    devices: tuple[DeviceSettings, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSettings:
    """A kind of device: how it is known, whether its word is taken, its limits.

    It is known by the scheme of its application and by its wallet, a name in
    ``codecs/emv/tokens.py`` or a token requestor; where none is named, any will do.
    That it verified its holder is believed where ``verifies``, and of numbers in the
    ``token_ranges`` alone, where there are any.
    """

    name: str
    schemes: frozenset[str] = frozenset()
    wallets: frozenset[str] = frozenset()
    token_ranges: tuple[Span, ...] = ()
    verifies: bool = True
    limits: ContactlessSettings = ContactlessSettings()


@dataclass(frozen=True, slots=True, kw_only=True)
class SwitchSettings:
    """Everything one switch process is told.

    ``transaction_timeout_s`` bounds a transaction from its first byte to its answer;
    it lies between the terminal's timer and every endpoint's ``request_timeout_s``.
    The business day ends at ``cutover_at`` in ``cutover_zone``.
    The switch is ready when ``ready_endpoints`` are up. A wall clock that moves by
    ``clock_jump_s`` or more against the monotonic one is in doubt.
    """

    node: str
    country: str
    default_currency: str
    listeners: tuple[ListenerSettings, ...]
    endpoints: Mapping[str, EndpointSettings]
    terminals: Mapping[str, TerminalSettings]
    merchants: Mapping[str, MerchantSettings]
    transaction_timeout_s: float = 10.0
    admission: AdmissionSettings = AdmissionSettings()
    kinds: KindSettings = KindSettings()
    contactless: ContactlessSettings = ContactlessSettings()
    ready_endpoints: Literal["any", "all", "none"] = "any"
    clock_jump_s: float = 30.0
    stand_in: Mapping[str, StandInSettings] = field(default_factory=dict)
    endpoint_health: HealthPolicy = field(default_factory=HealthPolicy)
    pan_hash_key: str = "store/pan-hash"
    seal_key: str = "store/seal"
    cutover_at: time = time()
    cutover_zone: str = "UTC"

    @property
    def reconciling(self) -> Mapping[str, str]:
        """Who gets the totals of each day, and in what currency when nothing moved."""
        return {
            name: self.default_currency
            for name, endpoint in self.endpoints.items()
            if endpoint.reconciles
        }

    @property
    def transaction_s_max(self) -> float:
        """How long a transaction may last whose payer is asked to confirm it."""
        confirms = (each.confirm_s for each in self.endpoints.values())
        return self.transaction_timeout_s + max(confirms, default=0.0)

    def overload_code(self, listener: str) -> ResponseCode:
        """Give what terminals of a listener are told when too much comes at once."""
        return next(
            (each.overload_code for each in self.listeners if each.name == listener),
            ResponseCode.SYSTEM_MALFUNCTION,
        )

    houses: Mapping[str, HouseSettings] = field(default_factory=dict)
