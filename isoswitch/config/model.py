"""The shape of a network configuration: every table and key, with its bounds.

Here stands what one value alone can tell. What holds between tables (a route to an
endpoint that exists, timers that nest) stands in ``isoswitch.config.checks``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from isoswitch.codecs.canonical.codes import EntryMode, Kind, ResponseCode
from isoswitch.codecs.emv.contactless import Scheme
from isoswitch.config.houses import House, Payee, SimulatedHouse
from isoswitch.config.types import (
    ApprovalPrefix,
    BinDigits,
    CategoryCode,
    CategoryRange,
    CodeDigits,
    Count,
    CurrencyNumber,
    FieldNumbers,
    FileName,
    FrameBytes,
    HexDigits,
    Host,
    Hours,
    InstitutionId,
    KeyName,
    MajorUnits,
    MatchFields,
    MerchantId,
    Name,
    NumericCode,
    PeerNetwork,
    Percent,
    Port,
    Rate,
    Seconds,
    Table,
    TerminalId,
    Tls,
    TokenRange,
    UnitAddress,
)


class Switch(Table):
    """This host: who it is, and which endpoints must be up before it is ready."""

    node: Name
    acquirer_id: InstitutionId
    country: NumericCode
    currency: CurrencyNumber
    ready_endpoints: Literal["any", "all", "none"] = "any"


class Admission(Table):
    """How much may begin at once; what is above is refused."""

    terminal_per_s: Annotated[float, Field(gt=0, le=100_000)] | None = None
    terminal_burst: Count | None = None
    merchant_in_flight_max: Count | None = None
    in_flight_max: Count | None = None
    arrivals_max: Count | None = None


class Day(Table):
    """When the business day ends: a time of day, as ``HH:MM``, in a time zone."""

    cutover: Annotated[str, StringConstraints(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")] = (
        "00:00"
    )
    zone: str = "UTC"


class Kinds(Table):
    """The terms of the transaction kinds.

    A pre-authorisation waits ``held_days`` for its completion, which may exceed it by
    ``completion_over_percent``, or by another percentage for a merchant category. A
    till pays out ``cashback_max_minor`` at most, by default nothing. Requests to change
    one of ``noted_files`` are left to the operator, about other files declined.
    """

    held_days: Annotated[int, Field(ge=1, le=365)] | None = None
    completion_over_percent: Percent | None = None
    completion_over_percent_by_mcc: dict[CategoryCode, Percent] | None = None
    cashback_max_minor: Annotated[int, Field(ge=0)] | None = None
    noted_files: list[Annotated[str, StringConstraints(max_length=99)]] = []


class TapLimits(Table):
    """How far a tap goes without a PIN, in minor units of the switch's currency.

    ``taps_max`` and ``sum_max_minor`` count since the account's last PIN. Where the
    device verified its holder, it pays up to ``device_max_minor``, 0 for any amount.
    """

    tap_max_minor: Annotated[int, Field(ge=0)] | None = None
    taps_max: Annotated[int, Field(ge=0, le=1000)] | None = None
    sum_max_minor: Annotated[int, Field(ge=0)] | None = None
    device_max_minor: Annotated[int, Field(ge=0)] | None = None


class TapDevice(TapLimits):
    """A kind of device, by scheme and wallet; its limits, else those of all.

    ``wallets`` are names such as "Apple Pay" or token requestors of eleven digits. A
    device's word that it verified its holder is taken where it ``verifies``, and of
    numbers in ``token_ranges`` alone where there are any.
    """

    schemes: list[Annotated[Scheme, Field(strict=False)]] = []
    wallets: list[str] = []
    token_ranges: list[TokenRange] = []
    verifies: bool = True


class Contactless(TapLimits):
    """How far taps go, in general and by the kind of device; the first that fits."""

    devices: dict[Name, TapDevice] = {}


class Timers(Table):
    """How long each party waits; each must outlast the next by the margin.

    ``issuer_s`` holds for every endpoint that names no ``request_timeout_s``. A wall
    clock that moves by ``clock_jump_s`` is in doubt.
    """

    terminal_s: Seconds
    switch_s: Seconds
    issuer_s: Seconds
    margin_s: Seconds = 1.0
    clock_jump_s: Annotated[float, Field(ge=1, le=86_400)] = 30.0


class Store(Table):
    """Where units of work are kept: in a file, or in the database of ``url``.

    What belongs to the process itself lies beside ``path`` in either case.
    """

    path: FileName
    url: (
        Annotated[str, StringConstraints(pattern=r"^postgres(ql)?://\S+/\S+$")] | None
    ) = None


class Log(Table):
    """Where the log lines go; standard error when no path is named."""

    path: FileName | None = None
    level: Literal["debug", "info", "warning", "error"] = "info"


class Token(Table):
    """One PKCS#11 token, and where its user PIN and SoftHSM's own file lie."""

    label: Annotated[str, StringConstraints(min_length=1, max_length=32)]
    pin_file: FileName
    module: FileName | None = None
    storage_key: KeyName | None = None
    softhsm_conf: FileName | None = None


class PaymentHsms(Table):
    """Payment HSMs that take host commands; they run what no token may in production.

    The keys that the units wrapped lie in ``keys_file``. ``lmk`` chooses among the
    local master keys of a unit, ``lmk_check_value`` is the beginning of what it reports
    of the right one.
    """

    units: Annotated[list[UnitAddress], Field(min_length=1)]
    keys_file: FileName
    lmk_check_value: Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{6,16}$")]
    lmk: Annotated[str, StringConstraints(pattern=r"^\d{2}$")] | None = None
    profile: Literal["payshield", "legacy"] | None = None
    ksn_descriptor: (
        Annotated[str, StringConstraints(pattern=r"^[0-9A-F]{3}$")] | None
    ) = None
    connections_per_unit: Annotated[int, Field(ge=1, le=64)] | None = None
    in_flight_max: Count | None = None
    deadline_s: Seconds | None = None
    tls: Tls | None = None


class Hsm(Table):
    """The crypto process: its socket, its key blocks, the tokens that open them.

    Started as root, its workers become ``user``. A worker is replaced after it made
    ``objects_max`` session objects. ``ready_file`` is there while it answers. With
    ``payshield`` payment HSMs run the payment commands, and the tokens the others.
    """

    socket: FileName
    keys_file: FileName
    environment: Literal["test", "production"] = "production"
    tokens: Annotated[list[Token], Field(min_length=1)]
    user: Annotated[str, StringConstraints(min_length=1, max_length=32)] | None = None
    objects_max: Annotated[int, Field(ge=10_000)] | None = None
    connections_max: Annotated[int, Field(ge=1, le=1_024)] | None = None
    ready_file: FileName | None = None
    payshield: PaymentHsms | None = None


class PortalTls(Table):
    """PEM files of the portal; its clients sign what they ask instead."""

    certificate: FileName
    key: FileName


class Client(Table):
    """Whoever may use the API: for a ``merchant``, else as a wallet.

    With ``terminal`` it takes payments by payers' codes, under this number (DE 41).

    It signs with the secret in ``secret_file`` (HMAC-SHA-256, at least 32 bytes) or
    with the private key to ``public_key_file`` (PEM; ECDSA P-256 or RSA).
    """

    merchant: MerchantId | None = None
    terminal: TerminalId | None = None
    secret_file: FileName | None = None
    public_key_file: FileName | None = None
    per_minute: Count | None = None


class Portal(Table):
    """Where monitoring, merchants and wallets ask, over HTTP.

    With ``clients`` there is the API of ``docs/merchant-api.md``. ``callback_secrets``
    are the files whose secrets sign what merchants are called back with, by merchant;
    ``calls_private`` lets callbacks go to private addresses, for tests. Answers under
    idempotency keys, and callbacks that have ended, are kept for ``keep_days``.
    """

    host: Host = "127.0.0.1"
    port: Port
    tls: PortalTls | None = None
    clients: dict[Name, Client] = {}
    callback_secrets: dict[MerchantId, FileName] = {}
    calls_private: bool = False
    keep_days: Annotated[float, Field(ge=1.0, le=3650.0)] = 7.0
    connections_max: Count = 256


class Listener(Table):
    """Where terminals connect, and how they speak."""

    host: Host = "127.0.0.1"
    port: Port
    dialect: str
    framing: str
    header: str = ""
    tls: Tls | None = None
    connections_max: Count | None = None
    in_flight_max: Count | None = None
    frame_bytes_max: FrameBytes | None = None
    frame_timeout_s: Seconds | None = None
    idle_timeout_s: Seconds | None = None
    overload_code: Literal["91", "96"] = "96"
    age_s_max: Seconds | None = None


class KeyExchange(Table):
    """How the working keys of a link change; 0 switches a trigger off.

    ``under`` protects them: a key block protection key, or with ``legacy`` a key
    encryption key for partners that know no key blocks.
    """

    under: KeyName
    legacy: bool = False
    age_s: Annotated[float, Field(ge=0)] = 0.0
    uses_max: Annotated[int, Field(ge=0)] = 0
    mac_failures_max: Annotated[int, Field(ge=0)] = 5
    overlap_s: Seconds = 300.0
    retry_s: Seconds = 30.0


class Endpoint(Table):
    """A counterparty that authorises: address, dialect, keys, limits, timers.

    One whose payers confirm is asked again every ``poll_s``, for ``confirm_s``.
    ``role = "server"`` listens at the address for its ``peers``. ``header_value``, in
    hexadecimal, stands before our requests when there is a ``header``.
    """

    host: Host = "127.0.0.1"
    port: Port
    dialect: str
    framing: str
    header: str = ""
    header_value: HexDigits | None = None
    acquirer_id: InstitutionId | None = None
    zpk: KeyName
    zak: KeyName
    role: Literal["client", "server"] = "client"
    peers: list[PeerNetwork] = []
    sign_on: Literal["us", "them", "nobody"] = "us"
    one_shot: bool = False
    fail_fast: bool = False
    owner: Name | None = None
    leased: bool = False
    cuts_day: bool = False
    connections: Annotated[int, Field(ge=1, le=64)] | None = None
    request_timeout_s: Seconds | None = None
    match_fields: MatchFields | None = None
    echo_fields: FieldNumbers | None = None
    frame_bytes_max: FrameBytes | None = None
    in_flight_max: Count | None = None
    echo_idle_s: Seconds | None = None
    echo_misses_max: Count | None = None
    reconnect_min_s: Seconds | None = None
    reconnect_max_s: Seconds | None = None
    connect_timeout_s: Seconds | None = None
    saf_retry_s: Seconds | None = None
    saf_retry_max_s: Seconds | None = None
    saf_refusals_max: Count | None = None
    saf_window: Count | None = None
    void_style: Literal["reversal", "void"] | None = None
    tells_expiry: bool | None = None
    reconciles: bool = False
    stand_in: Name | None = None
    not_processed: list[Annotated[ResponseCode, Field(strict=False)]] | None = None
    confirm_s: Annotated[float, Field(ge=0, le=600)] | None = None
    poll_s: Seconds | None = None
    key_exchange: KeyExchange | None = None


class Merchant(Table):
    """A card acceptor (DE 42); without a ``country`` it is in the switch's.

    Its own ``completion_over_percent`` replaces that of ``[kinds]``. It refunds only
    named purchases unless ``unlinked_refund_max_minor`` allows more.
    """

    name: Annotated[str, StringConstraints(min_length=1, max_length=40)]
    mcc: CategoryCode
    country: NumericCode | None = None
    completion_over_percent: Percent | None = None
    unlinked_refund_max_minor: Annotated[int, Field(ge=0)] = 0
    payee: Payee | None = None


class Terminal(Table):
    """A registered terminal (DE 41).

    ``listener`` is where it connects. ``tls`` is its side of mutual TLS: the switch
    pins the public key of its certificate, the simulated terminal presents it. Under
    ``tmk`` each sign-in brings new working keys, in key blocks unless ``legacy_keys``,
    and with ``single_length_keys`` those of single DES, which no other terminal gets.
    With ``partial_approvals`` it can go on with less than it asked for.
    """

    merchant: MerchantId
    listener: Name
    tpk: KeyName
    tak: KeyName | None = None
    tmk: KeyName | None = None
    legacy_keys: bool = False
    single_length_keys: bool = False
    key_overlap_s: Seconds = 300.0
    partial_approvals: bool = False
    currency: CurrencyNumber | None = None
    tls: Tls | None = None


class Route(Table):
    """Where the cards of a BIN go: first choice, and the one when that is away.

    ``name`` is written down in place of digits beyond the eighth; ``country`` is the
    issuer's, ``group`` a name that rules may ask for, ``stand_in`` a profile.
    """

    primary: Name
    alternate: Name | None = None
    name: Name | None = None
    country: NumericCode | None = None
    group: Name | None = None
    stand_in: Name | None = None


class WalletRoute(Table):
    """Which wallet honours the payment codes of a prefix."""

    primary: Name
    name: Name | None = None


class RoutingRule(Table):
    """What a transaction must be, who is asked then, and in what order.

    What is not named is not asked. Amounts are in the one currency of ``currencies``;
    ``between`` is UTC. Without ``candidates`` those of the BIN are put in order.
    """

    name: Name
    kinds: list[Annotated[Kind, Field(strict=False)]] = []
    currencies: list[CurrencyNumber] = []
    amount_min: MajorUnits | None = None
    amount_max: MajorUnits | None = None
    mccs: list[CategoryRange] = []
    merchants: list[MerchantId] = []
    countries: list[NumericCode] = []
    card_countries: list[NumericCode] = []
    groups: list[Name] = []
    entry_modes: list[Annotated[EntryMode, Field(strict=False)]] = []
    between: Hours | None = None
    candidates: list[Name] = []
    order: Literal["listed", "weights", "cost"] = "listed"
    weights: dict[Name, Annotated[int, Field(ge=0, le=1_000_000)]] = {}


class RoutingCost(Table):
    """What an endpoint charges for a transaction in one currency."""

    endpoint: Name
    currency: CurrencyNumber
    fixed_minor: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    rate: Rate = "0"


class Health(Table):
    """When an endpoint is spared, or asked last; 0 switches either off."""

    failures_max: Annotated[int, Field(ge=0, le=1_000)] = 0
    open_s: Seconds = 30.0
    score_min: Annotated[int, Field(ge=0, le=1_000)] = 0
    window_s: Seconds = 60.0
    samples_min: Count = 20


class Routing(Table):
    """How routes are decided: a BIN file beside ``[bins]``, rules, costs, health."""

    bins_file: FileName | None = None
    rules: list[RoutingRule] = []
    costs: list[RoutingCost] = []
    health: Health = Health()


class StandIn(Table):
    """How far the switch approves in place of an issuer that is away.

    Amounts are in major units of ``currency``. ``floor`` bounds one approval,
    ``card_count_max`` and ``card_max`` those of a card on a business day, ``total_max``
    what an issuer is owed that it has not been told of. ``cryptogram_key`` is the
    issuer's master key (E0) under which cryptograms of chips are verified.
    ``negative_file`` lists cards that get nothing (`isoswitch standin hash`).
    """

    currency: CurrencyNumber
    floor: MajorUnits
    card_count_max: Count
    card_max: MajorUnits
    total_max: MajorUnits
    kinds: list[Annotated[Kind, Field(strict=False)]] = [Kind.PURCHASE]
    with_pin: bool = False
    with_chip: bool = False
    after_silence: bool = False
    approval_prefix: ApprovalPrefix = "S"
    cryptogram_key: KeyName | None = None
    cryptogram_version: str = "visa-18"
    negative_file: FileName | None = None


class Issuer(Table):
    """A simulated issuer at the address of the endpoint of its name.

    ``mac`` is what its ``zak`` makes, so that setup makes the test key for it.
    ``rules`` come before the standing rules of the test cards and test amounts, in
    the form that ``isoswitch.simulators.rules`` describes. One with ``shoppers`` is a
    wallet, which honours the codes that they show.
    """

    mac: Literal["x9.19", "aes-cmac"] = "x9.19"
    shoppers: list[Name] = []
    rules: list[dict[str, Any]] = []


class Trickle(Table):
    """The simulated terminals that pay all the time, so that there is life."""

    terminals: Annotated[list[TerminalId], Field(min_length=1)]
    cards: Annotated[list[Name], Field(min_length=1)]
    per_minute: Annotated[float, Field(gt=0, le=6_000)] = 30.0


class Simulators(Table):
    """The other ends: issuers, a trickle of terminals, and the test keys they share.

    With ``payment_hsm`` a simulated unit listens at the first address of
    ``[hsm.payshield]``.
    """

    keyring: FileName
    issuers: Annotated[dict[Name, Issuer], Field(min_length=1)]
    houses: dict[Name, SimulatedHouse] = {}
    trickle: Trickle | None = None
    payment_hsm: bool = False


class Network(Table):
    """Everything in one configuration file."""

    switch: Switch
    admission: Admission = Admission()
    kinds: Kinds = Kinds()
    timers: Timers
    day: Day = Day()
    contactless: Contactless = Contactless()
    store: Store
    log: Log = Log()
    hsm: Hsm
    portal: Portal | None = None
    listeners: Annotated[dict[Name, Listener], Field(min_length=1)]
    endpoints: Annotated[dict[Name, Endpoint], Field(min_length=1)]
    houses: dict[Name, House] = {}
    merchants: Annotated[dict[MerchantId, Merchant], Field(min_length=1)]
    terminals: Annotated[dict[TerminalId, Terminal], Field(min_length=1)]
    bins: dict[BinDigits, Route] = {}
    wallets: dict[CodeDigits, WalletRoute] = {}
    routing: Routing = Routing()
    stand_in: dict[Name, StandIn] = {}
    simulators: Simulators | None = None
