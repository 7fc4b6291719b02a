"""Checks of published DUKPT keys and what they make."""

from __future__ import annotations

from isoswitch.codecs.canonical.secrets import KeyValue, Pan, Pin, PinBlock
from isoswitch.hsm.engine import Algorithm, Engine, Use
from isoswitch.hsm.functions import dukpt_aes, dukpt_tdes, mac, pin
from isoswitch.hsm.functions.dukpt_aes import AesPurpose, AesTerminals, KeyKind
from isoswitch.hsm.functions.dukpt_tdes import BaseKey, TdesPurpose, TdesTerminals
from isoswitch.hsm.functions.key import DERIVE, ENCRYPT, MAC, Key
from isoswitch.hsm.functions.mac import MacAlgorithm, MacKey, Padding
from isoswitch.hsm.functions.pin import PinFormat, PinKey
from isoswitch.hsm.octets import xor
from isoswitch.hsm.vectors.fields import (
    BOTH,
    Fields,
    expect,
    is_same_key,
    octets,
    tdes,
    value,
)


def tdes_terminals(engine: Engine, given: Fields) -> TdesTerminals:
    """Load the base key of a vector of TDES DUKPT."""
    return TdesTerminals(BaseKey.load(engine, value(given, "bdk")))


def check_tdes_dukpt_ipek(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check an initial key."""
    base = BaseKey.load(engine, value(given, "bdk"))
    initial = dukpt_tdes.initial_key(base, octets(given, "iksn"))
    expect(initial, value(expected, "ipek"))


def check_tdes_dukpt_txn(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check a transaction key, its PIN block, and MACs and data both ways."""
    terminals, ksn = tdes_terminals(engine, given), octets(given, "ksn")
    data = octets(given, "mac_data")
    pin_value = terminals.derive(ksn, TdesPurpose.PIN)
    variant = bytes.fromhex("00000000000000FF" * 2)
    expect(xor(pin_value.reveal(), variant), octets(expected, "txn_key"))
    zone = PinKey(tdes(engine, pin_value, BOTH), PinFormat.ISO_0)
    pan, block = Pan(given["pan"]), PinBlock(octets(expected, "pin_block_enc"))
    expect(pin.decrypt(block, pan, zone), Pin(given["pin"]))
    for name, published in expected.items():
        kind = name.partition("_")[0]
        purpose = TdesPurpose.__members__.get(name.upper())
        if purpose is None:
            continue
        key = terminals.derive(ksn, purpose)
        if kind == "mac":
            retail = MacKey.load(engine, key, Algorithm.TDES, MacAlgorithm.ALG3)
            mac.verify(retail, data, bytes.fromhex(published))
        else:
            padded = mac.pad(data, Padding.ZEROS, 8)
            encrypted = tdes(engine, key).cbc(padded, bytes(8))
            expect(encrypted, bytes.fromhex(published))


def check_tdes_dukpt_cmac(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check the CMACs of a transaction."""
    terminals = tdes_terminals(engine, given)
    for name, published in expected.items():
        purpose = TdesPurpose[name.upper().removeprefix("C")]
        key = terminals.derive(octets(given, "ksn"), purpose)
        cmac = MacKey.load(engine, key, Algorithm.TDES, MacAlgorithm.CMAC)
        mac.verify(cmac, octets(given, "data"), bytes.fromhex(published))


def aes_terminals(engine: Engine, bdk: str) -> AesTerminals:
    """Load a base key of AES DUKPT."""
    base = Key.load(engine, KeyValue(bytes.fromhex(bdk)), Algorithm.AES, DERIVE)
    return AesTerminals(base, aes_kind(bdk))


def aes_kind(hexadecimal: str) -> KeyKind:
    """Give the kind of an AES key by its length."""
    return KeyKind.AES_128 if len(hexadecimal) == 32 else KeyKind.AES_256


def check_aes_dukpt_ik(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check an initial key."""
    base = Key.load(engine, value(given, "bdk"), Algorithm.AES, DERIVE)
    kind, terminal = aes_kind(given["bdk"]), octets(given, "ik_id")
    with dukpt_aes.initial_key(base, terminal, kind) as initial:
        expect(is_same_key(initial, value(expected, "ik")), True)


def check_aes_dukpt_update_key(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check the key that carries a new initial key."""
    terminals = aes_terminals(engine, given["bdk"])
    with terminals.derive_update_key(octets(given, "ik_id"), DERIVE) as update:
        expect(is_same_key(update, value(expected, "update_key")), True)
    terminals.close()


AES_PURPOSES = {
    "pin_key": AesPurpose.PIN,
    "mac_gen_key": AesPurpose.MAC_GENERATION,
    "data_enc_key": AesPurpose.DATA_ENCRYPTION,
}


def check_aes_dukpt_txn(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check a transaction key, its working keys and PIN block."""
    ksn = octets(given, "ksn")
    terminals = aes_terminals(engine, given["bdk"])
    transaction = terminals.transaction_key(ksn)
    expect(is_same_key(transaction, value(expected, "txn_key")), True)
    for name, published in expected.items():
        purpose = AES_PURPOSES.get(name.rpartition("_")[0])
        if purpose is None:
            continue
        with terminals.derive(ksn, purpose, aes_kind(published), DERIVE) as key:
            expect(is_same_key(key, value(expected, name)), True)
    if "pin_block_fmt4_enc" in expected:
        filler = octets(given, "fmt4_random")
        block = PinBlock(octets(expected, "pin_block_fmt4_enc"))
        with terminals.derive(ksn, AesPurpose.PIN, aes_kind(given["bdk"]), BOTH) as key:
            zone, pan = PinKey(key, PinFormat.ISO_4), Pan(given["pan"])
            made = pin.encrypt(
                Pin(given["pin"]), pan, zone, random=lambda length: filler[:length]
            )
            expect(made, block)
            expect(pin.decrypt(block, pan, zone), Pin(given["pin"]))
    terminals.close()


def check_aes_dukpt_txn_key(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check a transaction key."""
    terminals = aes_terminals(engine, given["bdk"])
    transaction = terminals.transaction_key(octets(given, "ksn"))
    expect(is_same_key(transaction, value(expected, "txn_key")), True)
    terminals.close()


def check_aes_dukpt_mac_data(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check MACs and encrypted data, both ways."""
    ksn, data = octets(given, "ksn"), octets(given, "data")
    terminals = aes_terminals(engine, given["bdk"])

    def derive(purpose: AesPurpose, kind: KeyKind, uses: frozenset[Use]) -> Key:
        return terminals.derive(ksn, purpose, kind, uses)

    for way, made, kept in (
        ("Request", AesPurpose.MAC_GENERATION, AesPurpose.DATA_ENCRYPTION),
        ("Response", AesPurpose.MAC_VERIFICATION, AesPurpose.DATA_DECRYPTION),
    ):
        with derive(made, KeyKind.AES_128, MAC) as key:
            expect(key.cmac(data), octets(expected, f"CMAC{way}"))
        with derive(made, KeyKind.HMAC_128, MAC) as key:
            expect(key.hmac(data), octets(expected, f"HMAC{way}"))
        with derive(kept, KeyKind.AES_128, ENCRYPT) as key:
            padded = mac.pad(data, Padding.ZEROS, 16)
            expect(key.cbc(padded, bytes(16)), octets(expected, f"Data{way}"))
    terminals.close()
