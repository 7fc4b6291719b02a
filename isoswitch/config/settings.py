"""What each part of a network is told, from the configuration that was loaded."""

from __future__ import annotations

import ssl
from datetime import time
from pathlib import Path
from typing import Any

from isoswitch.codecs.canonical.codes import ResponseCode
from isoswitch.codecs.canonical.errors import ConfigError
from isoswitch.codecs.canonical.money import parse_money
from isoswitch.codecs.dialects.registry import CARD_LINKS, CARD_TERMINALS
from isoswitch.config.houses import House, HouseSignature, Payee
from isoswitch.config.load import LoadedNetwork
from isoswitch.config.model import (
    Contactless,
    Endpoint,
    Kinds,
    Listener,
    Network,
    StandIn,
    TapLimits,
    Terminal,
    Token,
)
from isoswitch.config.negative import read_negative
from isoswitch.config.publickey import read_public
from isoswitch.config.types import Tls
from isoswitch.hsm.payshield.settings import PayshieldSettings
from isoswitch.hsm.settings import Environment, HsmdSettings, TokenSettings
from isoswitch.routing.bins import Span
from isoswitch.routing.health import HealthPolicy
from isoswitch.switch.settings import (
    DAY_S,
    AdmissionSettings,
    ContactlessSettings,
    DeviceSettings,
    EndpointSettings,
    HouseSettings,
    KeyExchangeSettings,
    KindSettings,
    ListenerSettings,
    MerchantSettings,
    PayeeSettings,
    Role,
    SigningSettings,
    SignOn,
    StandInSettings,
    SwitchSettings,
    TerminalSettings,
    TlsFiles,
    VoidStyle,
    server_terminal,
)
from isoswitch.switch.terminals import certificate_pin

# Card messages in XML are longer than those of ISO 8583.
CARD_FRAME_BYTES_MAX = 16_384
_OVERLOAD_CODES = {
    "91": ResponseCode.ISSUER_UNAVAILABLE,
    "96": ResponseCode.SYSTEM_MALFUNCTION,
}
"""What a terminal is told when too much comes at once, by its wire code."""


def switch_settings(loaded: LoadedNetwork) -> SwitchSettings:
    """Give what the switch process is told.

    Raises
    ------
    ConfigError
        The certificate of a terminal is missing or is not a certificate.
    """
    network = loaded.network
    return SwitchSettings(
        node=network.switch.node,
        country=network.switch.country,
        default_currency=network.switch.currency,
        listeners=tuple(
            _listener(loaded, name, listener)
            for name, listener in network.listeners.items()
        ),
        endpoints={
            name: _endpoint(network, name, endpoint)
            for name, endpoint in network.endpoints.items()
        },
        terminals={
            name: _terminal(loaded, name, terminal)
            for name, terminal in network.terminals.items()
        }
        | _servers(network),
        merchants={
            name: MerchantSettings(
                id=name,
                name=merchant.name,
                mcc=merchant.mcc,
                country=merchant.country or "",
                completion_over_percent=merchant.completion_over_percent,
                unlinked_refund_max_minor=merchant.unlinked_refund_max_minor,
                payee=_payee(merchant.payee),
            )
            for name, merchant in network.merchants.items()
        },
        houses={
            name: _house(loaded, name, house) for name, house in network.houses.items()
        },
        transaction_timeout_s=network.timers.switch_s,
        cutover_at=time.fromisoformat(network.day.cutover),
        cutover_zone=network.day.zone,
        ready_endpoints=network.switch.ready_endpoints,
        clock_jump_s=network.timers.clock_jump_s,
        contactless=_contactless(network.contactless),
        kinds=_kinds(network.kinds),
        admission=AdmissionSettings(**_given(**network.admission.model_dump())),
        stand_in=stand_in_profiles(loaded),
        endpoint_health=HealthPolicy(**network.routing.health.model_dump()),
    )


def stand_in_profiles(loaded: LoadedNetwork) -> dict[str, StandInSettings]:
    """Give the profiles by which the switch approves in an issuer's place.

    Raises
    ------
    ConfigError
        A negative file cannot be read.
    """
    return {
        name: _stand_in(loaded, name, profile)
        for name, profile in loaded.network.stand_in.items()
    }


def hsmd_settings(loaded: LoadedNetwork) -> HsmdSettings:
    """Give what the crypto process is told."""
    hsm = loaded.network.hsm
    return HsmdSettings(
        socket=loaded.file(hsm.socket),
        keys_file=loaded.file(hsm.keys_file),
        environment=Environment(hsm.environment),
        tokens=tuple(_token(loaded, token) for token in hsm.tokens),
        ready_file=None if hsm.ready_file is None else loaded.file(hsm.ready_file),
        **_given(
            user=hsm.user,
            objects_max=hsm.objects_max,
            connections_max=hsm.connections_max,
        ),
    )


def payshield_settings(loaded: LoadedNetwork) -> PayshieldSettings | None:
    """Give what the client of payment HSMs is told; None where there are none.

    Raises
    ------
    ConfigError
        A file of their TLS is missing or is not what it should be.
    """
    hsms = loaded.network.hsm.payshield
    if hsms is None:
        return None
    return PayshieldSettings(
        units=tuple(map(unit_address, hsms.units)),
        tls=None if hsms.tls is None else _tls_context(tls_files(loaded, hsms.tls)),
        **hsms.model_dump(exclude_none=True, exclude={"units", "keys_file", "tls"}),
    )


def unit_address(text: str) -> tuple[str, int]:
    """Give host and port of a payment HSM.

    Examples
    --------
    >>> unit_address("10.0.0.7:1500")
    ('10.0.0.7', 1500)
    """
    host, _, port = text.rpartition(":")
    return host, int(port)


def tls_files(loaded: LoadedNetwork, tls: Tls) -> TlsFiles:
    """Give the PEM files of one side, in their place."""
    return TlsFiles(
        certificate=loaded.file(tls.certificate),
        key=loaded.file(tls.key),
        ca=loaded.file(tls.ca),
    )


def pin_of_file(path: Path) -> str:
    """Give the SHA-256 of a PEM certificate's public key (SPKI), in hex.

    Raises
    ------
    ConfigError
        There is no certificate at this place.
    """
    try:
        return certificate_pin(
            ssl.PEM_cert_to_DER_cert(path.read_text(encoding="ascii"))
        )
    except (OSError, ValueError):
        msg = f"{path} is no certificate; `isoswitch setup` makes one for tests"
        raise ConfigError(msg) from None


def _listener(loaded: LoadedNetwork, name: str, listener: Listener) -> ListenerSettings:
    given = listener.model_dump(exclude_unset=True, exclude={"tls", "overload_code"})
    tls = None if listener.tls is None else tls_files(loaded, listener.tls)
    if listener.dialect in CARD_TERMINALS:
        given.setdefault("frame_bytes_max", CARD_FRAME_BYTES_MAX)
    return ListenerSettings(
        **{"host": listener.host, **given},
        name=name,
        tls=tls,
        overload_code=_OVERLOAD_CODES[listener.overload_code],
    )


def _kinds(kinds: Kinds) -> KindSettings:
    given = _given(**kinds.model_dump(exclude={"held_days", "noted_files"}))
    given["noted_files"] = frozenset(kinds.noted_files)
    if kinds.held_days is not None:
        given["held_s"] = kinds.held_days * DAY_S
    return KindSettings(**given)


def _endpoint(network: Network, name: str, endpoint: Endpoint) -> EndpointSettings:
    given: dict[str, Any] = {
        "host": endpoint.host,
        "acquirer_id": network.switch.acquirer_id,
        "request_timeout_s": network.timers.issuer_s,
        **endpoint.model_dump(
            exclude_unset=True,
            exclude={"key_exchange", "owner"},
        ),
        "header_value": bytes.fromhex(endpoint.header_value or ""),
        "peers": tuple(endpoint.peers),
        "role": Role(endpoint.role),
        # A connection of one request has nobody sign on.
        "sign_on": SignOn.NOBODY if endpoint.one_shot else SignOn(endpoint.sign_on),
        "owner": endpoint.owner or "",
    }
    if endpoint.dialect in CARD_LINKS:
        given.setdefault("frame_bytes_max", CARD_FRAME_BYTES_MAX)
    if endpoint.key_exchange is not None:
        profile = endpoint.key_exchange.model_dump()
        is_legacy = profile.pop("legacy")
        given["key_exchange"] = KeyExchangeSettings(**profile, is_legacy=is_legacy)
    for key in ("match_fields", "echo_fields"):
        if key in given:
            given[key] = tuple(given[key])
    given["stand_in"] = endpoint.stand_in or ""
    given["tells_expiry"] = endpoint.tells_expiry is not False
    given["void_style"] = VoidStyle(endpoint.void_style or VoidStyle.REVERSAL)
    given["not_processed"] = frozenset(endpoint.not_processed or ())
    return EndpointSettings(**given, name=name)


def _terminal(loaded: LoadedNetwork, name: str, terminal: Terminal) -> TerminalSettings:
    pin = ""
    if terminal.tls is not None:
        pin = pin_of_file(loaded.file(terminal.tls.certificate))
    return TerminalSettings(
        id=name,
        merchant_id=terminal.merchant,
        tpk=terminal.tpk,
        tak=terminal.tak or "",
        tmk=terminal.tmk or "",
        is_legacy=terminal.legacy_keys,
        has_single_length=terminal.single_length_keys,
        key_overlap_s=terminal.key_overlap_s,
        partial_approvals=terminal.partial_approvals,
        currency=terminal.currency or loaded.network.switch.currency,
        certificate_pin=pin,
    )


def _house(loaded: LoadedNetwork, name: str, house: House) -> HouseSettings:
    agreed = house.recalls_agreed
    accounts = {
        payee.account: f"merchant/{merchant_id}"
        for merchant_id, merchant in loaded.network.merchants.items()
        if (payee := merchant.payee) is not None
        and (payee.house, payee.bank) == (name, house.member)
    }
    for number, account in house.accounts.items():
        owner = account.merchant and f"merchant/{account.merchant}"
        accounts[number] = owner or f"customer/{number}"
    return HouseSettings(
        name=name,
        signing=_signing(loaded, house.signature),
        accounts=accounts,
        blocked=frozenset(
            number for number, account in house.accounts.items() if account.blocked
        ),
        **_given(recalls_agreed=None if agreed is None else frozenset(agreed)),
        tls=None if house.tls is None else tls_files(loaded, house.tls),
        **house.model_dump(
            exclude={"signature", "accounts", "recalls_agreed", "tls"},
        ),
    )


def _signing(
    loaded: LoadedNetwork, signature: HouseSignature | None
) -> SigningSettings | None:
    if signature is None:
        return None
    return SigningSettings(
        their_public=read_public(loaded.file(signature.their_file)),
        **signature.model_dump(exclude={"their_file"}),
    )


def _servers(network: Network) -> dict[str, TerminalSettings]:
    """Give the terminals that the servers of merchants are."""
    clients = network.portal.clients.values() if network.portal else ()
    return {
        client.terminal: server_terminal(
            client.terminal, client.merchant, network.switch.currency
        )
        for client in clients
        if client.terminal is not None and client.merchant is not None
    }


def _payee(payee: Payee | None) -> PayeeSettings | None:
    if payee is None:
        return None
    return PayeeSettings(**_given(**payee.model_dump()))


def _contactless(contactless: Contactless) -> ContactlessSettings:
    limits = set(TapLimits.model_fields)
    general = _given(**contactless.model_dump(include=limits))
    devices = tuple(
        DeviceSettings(
            name=name,
            schemes=frozenset(device.schemes),
            wallets=frozenset(device.wallets),
            token_ranges=tuple(
                Span.of_digits(*each.split("..")) for each in device.token_ranges
            ),
            verifies=device.verifies,
            limits=ContactlessSettings(
                **general | _given(**device.model_dump(include=limits))
            ),
        )
        for name, device in contactless.devices.items()
    )
    return ContactlessSettings(**general, devices=devices)


def _stand_in(loaded: LoadedNetwork, name: str, profile: StandIn) -> StandInSettings:
    def minor(amount: str) -> int:
        return parse_money(amount, profile.currency).minor

    return StandInSettings(
        name=name,
        currency=profile.currency,
        floor_minor=minor(profile.floor),
        card_count_max=profile.card_count_max,
        card_minor_max=minor(profile.card_max),
        total_minor_max=minor(profile.total_max),
        kinds=frozenset(profile.kinds),
        with_pin=profile.with_pin,
        with_chip=profile.with_chip,
        after_silence=profile.after_silence,
        approval_prefix=profile.approval_prefix,
        cryptogram_key=profile.cryptogram_key or "",
        cryptogram_version=profile.cryptogram_version,
        negative=read_negative(loaded.file(profile.negative_file))
        if profile.negative_file
        else {},
    )


def _token(loaded: LoadedNetwork, token: Token) -> TokenSettings:
    conf = token.softhsm_conf
    return TokenSettings(
        label=token.label,
        pin_file=loaded.file(token.pin_file),
        softhsm_conf=None if conf is None else loaded.file(conf),
        **_given(module=token.module, storage_key=token.storage_key),
    )


def _tls_context(files: TlsFiles) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=files.ca)
        context.load_cert_chain(files.certificate, files.key)
    except OSError as fault:
        msg = f"[hsm.payshield] tls: {fault.strerror or fault}: see {files.certificate}"
        raise ConfigError(msg) from None
    return context


def _given(**values: Any) -> dict[str, Any]:
    """Keep what the file names; the rest has its default in the settings."""
    return {key: value for key, value in values.items() if value is not None}
