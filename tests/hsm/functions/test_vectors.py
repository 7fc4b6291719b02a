"""Every published value in ``tests/vectors/crypto_*.json``, on every engine.

A function that only verifies is checked with the published value here and with wrong
ones in the tests of its module.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from isoswitch.codecs.canonical.secrets import KeyValue, Pan, Pin, PinBlock, Secret
from isoswitch.hsm.engine import Algorithm, Engine, Use
from isoswitch.hsm.functions import (
    cvv,
    dukpt_aes,
    dukpt_tdes,
    emv,
    ibm3624,
    kcv,
    keywrap,
    mac,
    pin,
    pvv,
    tr31,
)
from isoswitch.hsm.functions.dukpt_aes import AesPurpose, AesTerminals, KeyKind
from isoswitch.hsm.functions.dukpt_tdes import BaseKey, TdesPurpose, TdesTerminals
from isoswitch.hsm.functions.emv import (
    ArpcMethod,
    CardKeyOption,
    CryptogramVersion,
    ScriptKey,
    SessionKey,
)
from isoswitch.hsm.functions.key import DECRYPT, DERIVE, ENCRYPT, MAC, Key, KeyPair
from isoswitch.hsm.functions.mac import MacAlgorithm, MacKey, Padding
from isoswitch.hsm.functions.pin import PinFormat, PinKey
from isoswitch.hsm.octets import xor
from isoswitch.simulators import variant_lmk
from tests.shared import reference

Fields = Mapping[str, Any]
Check = Callable[[Engine, Fields, Fields], None]

BOTH = frozenset({Use.ENCRYPT, Use.DECRYPT})
MASTER = frozenset({Use.ENCRYPT, Use.DERIVE})
FILES = sorted((Path(__file__).parents[2] / "vectors").glob("crypto_*.json"))
VECTORS = [
    vector
    for path in FILES
    for vector in json.loads(path.read_text(encoding="utf-8"))["vectors"]
]
# The vectors of update keys give the initial key where the others give the base key.
BASE_OF_INITIAL = {
    vector["expected"]["ik"]: vector["input"]["bdk"]
    for vector in VECTORS
    if vector["function"] == "aes_dukpt_ik"
}


def value(fields: Fields, name: str) -> KeyValue:
    return KeyValue(octets(fields, name))


def octets(fields: Fields, name: str) -> bytes:
    """Read a field that is hexadecimal or, by its name, text."""
    if name in fields:
        return bytes.fromhex(fields[name])
    text: str = fields[f"{name}_ascii"]
    return text.encode()


def tdes(engine: Engine, key: KeyValue, uses: frozenset[Use] = ENCRYPT) -> Key:
    return Key.load(engine, key, Algorithm.TDES, uses)


def is_same_key(derived: Key, expected: KeyValue) -> bool:
    """Compare a key in the engine with a value, by what both derive."""
    given = Key.load(derived.engine, expected, derived.algorithm, DERIVE)
    data = bytes(range(derived.block_size))
    with (
        given,
        derived.derive(data, derived.algorithm, ENCRYPT) as ours,
        given.derive(data, derived.algorithm, ENCRYPT) as theirs,
    ):
        return ours.ecb(data) == theirs.ecb(data)


# --- MAC -----------------------------------------------------------------------------


def check_mac(cipher: Algorithm, algorithm: MacAlgorithm) -> Check:
    def check(engine: Engine, given: Fields, expected: Fields) -> None:
        padding = Padding(given.get("padding", 1))
        key = MacKey.load(engine, value(given, "key"), cipher, algorithm, padding)
        published = bytes.fromhex(expected["mac"])
        data = octets(given, "data")
        assert mac.generate(key, data, length=len(published)) == published
        mac.verify(key, data, published)

    return check


def check_mac_alg3_k16k16(engine: Engine, given: Fields, expected: Fields) -> None:
    halves = octets(given, "key1")[:8] + octets(given, "key2")[:8]
    retail = {**given, "key": halves.hex()}
    check_mac(Algorithm.TDES, MacAlgorithm.ALG3)(engine, retail, expected)


# --- PIN -----------------------------------------------------------------------------


def check_pinblock_iso0(_engine: Engine, given: Fields, expected: Fields) -> None:
    pan = Pan(given["pan"])
    block = PinBlock(bytes.fromhex(expected["block"]))
    assert pin.encode(Pin(given["pin"]), pan, PinFormat.ISO_0) == block
    assert pin.decode(block, pan, PinFormat.ISO_0) == Pin(given["pin"])


def check_pinblock_iso1(_engine: Engine, given: Fields, expected: Fields) -> None:
    nibbles = given["transaction_field_nibbles"]
    filler = bytes(int(nibble, 16) for nibble in nibbles)
    pan = Pan("12345678")
    block = pin.encode(
        Pin(given["pin"]), pan, PinFormat.ISO_1, random=lambda length: filler[:length]
    )
    assert block == PinBlock(bytes.fromhex(expected["block"]))
    assert pin.decode(block, pan, PinFormat.ISO_1) == Pin(given["pin"])


def check_pinblock_iso3(_engine: Engine, given: Fields, expected: Fields) -> None:
    block = PinBlock(bytes.fromhex(given["block"]))
    assert pin.decode(block, Pan(given["pan"]), PinFormat.ISO_3) == Pin(expected["pin"])


def check_pinblock_iso4(engine: Engine, given: Fields, expected: Fields) -> None:
    key = Key.load(engine, value(given, "key"), Algorithm.AES, DECRYPT)
    block = bytes.fromhex(given["block"])
    # One vector has a PAN of one digit, which no card has; leading zeros do not
    # change the PAN field.
    pan = Pan(given["pan"].rjust(12, "0"))
    zone = PinKey(key, PinFormat.ISO_4)
    assert pin.decrypt(PinBlock(block), pan, zone) == Pin(expected["pin"])


def check_visa_pvv(engine: Engine, given: Fields, expected: Fields) -> None:
    pvv.verify_pvv(
        tdes(engine, value(given, "pvk")),
        Pin(given["pin"]),
        Pan(given.get("pan") or given["pan12"]),
        index=int(given["pvki"]),
        pvv=expected["pvv"],
    )


def check_ibm3624_offset(engine: Engine, given: Fields, expected: Fields) -> None:
    rule = ibm3624.Ibm3624Rule(
        table=given["dec_table"],
        start=given["verify_offset"],
        length=given["verify_length"],
        pad=given["pad"],
    )
    ibm3624.verify_offset(
        tdes(engine, value(given, "pvk")),
        Pin(given["pin"]),
        Pan(given["pan"]),
        rule,
        offset=expected["offset"],
    )


# --- card values ---------------------------------------------------------------------


def card_key(engine: Engine, given: Fields, master: str = "imk") -> KeyPair:
    """Derive a card key; jPOS hashes for option B whatever the PAN's length."""
    option = {"A": CardKeyOption.A, "B": CardKeyOption.B_ALWAYS}
    return emv.derive_card_key(
        tdes(engine, value(given, master), DERIVE),
        Pan(given["pan"]),
        sequence=given["psn"],
        option=option[given.get("mk_option", "A")],
    )


def check_cvv(engine: Engine, given: Fields, expected: Fields) -> None:
    cvv.verify_cvv(
        KeyPair.load(engine, value(given, "cvk"), ENCRYPT),
        Pan(given["pan"]),
        expiry=given["expiry"],
        service_code=given["service_code"],
        cvv=Secret(expected["cvv"]),
    )


def check_visa_dcvv(engine: Engine, given: Fields, expected: Fields) -> None:
    cvv.verify_dcvv(
        card_key(engine, given),
        Pan(given["pan"]),
        expiry=given["expiry"],
        service_code=given["service_code"],
        atc=int(given["atc"]),
        dcvv=Secret(expected["dcvv"]),
    )


def check_mc_cvc3(engine: Engine, given: Fields, expected: Fields) -> None:
    key = card_key(engine, given, "imk_cvc3")
    track = bytes.fromhex(given.get("track2") or given["track_or_ivcvc3"])
    static = track if len(track) == 2 else cvv.static_cvc3(key, Secret(track))
    cvv.verify_cvc3(
        key,
        static=static,
        unpredictable=octets(given, "un"),
        atc=int(given["atc"], 16),
        cvc3=Secret(expected.get("cvc3") or expected["cvc3_last3"]),
    )


# --- EMV -----------------------------------------------------------------------------

ANY_NUMBER = bytes(4)


def version(session: SessionKey, padding: Padding, arpc: SessionKey) -> Any:
    return CryptogramVersion(
        session=session,
        padding=padding,
        arpc=ArpcMethod.ENCRYPTED,
        arpc_session=arpc,
        script=ScriptKey.COMMON,
    )


# jPOS names a scheme and a padding for each of its cryptograms.
JPOS_SESSIONS = {
    "VSDC": (SessionKey.NONE, SessionKey.NONE),
    "MCHIP": (SessionKey.MCHIP, SessionKey.NONE),
    "CSKD": (SessionKey.COMMON, SessionKey.COMMON),
}


def check_emv(known: CryptogramVersion) -> Check:
    """Check an ARQC and, by the name of each expected value, the ARPC to it."""

    def check(engine: Engine, given: Fields, expected: Fields) -> None:
        key = card_key(engine, given)
        # Version 10 uses the card key itself, whatever the counter.
        counter = octets({"atc": "0000", **given}, "atc")
        number = octets({"un": "00000000", **given}, "un")
        arqc = octets(expected, "arqc")
        data = octets(given, "data")
        emv.verify_arqc(key, known, data, atc=counter, unpredictable=number, arqc=arqc)
        for name in expected.keys() - {"arqc"}:
            # arpc1_arc3030, arpc_rc0010, arpc2_csu00000000
            answer = bytes.fromhex(name.split("_")[1].lstrip("arcsu"))
            arpc = emv.make_arpc(
                key,
                known,
                atc=counter,
                unpredictable=number,
                arqc=arqc,
                answer=answer,
            )
            assert arpc == octets(expected, name)

    return check


def check_emv_arqc_csk(engine: Engine, given: Fields, expected: Fields) -> None:
    """The diversifier of this vector is a whole block, as a script's cryptogram is."""
    key = card_key(engine, given)
    assert kcv.legacy_kcv(key.full, length=2).hex() == expected["icc_mk_kcv2"].lower()
    diversifier = octets(given, "r")
    arqc = octets(expected, "arqc")
    with emv.session_key(key, diversifier) as session:
        assert kcv.legacy_kcv(session.full, length=2) == octets(expected, "sk_kcv2")
        retail = MacKey.of_pair(session, Padding.BIT)
        mac.verify(retail, octets(given, "data"), arqc)
        authenticated = emv.authenticated_arpc
        zeros, data = bytes(4), bytes.fromhex("1234567890ABCDEF")
        published = octets(expected, "arpc2_csu00000000")
        assert authenticated(session, arqc, zeros) == published
        published = octets(expected, "arpc2_csu00000000_prop1234567890ABCDEF")
        assert authenticated(session, arqc, zeros + data) == published
    published = octets(expected, "arpc1_rc0000_with_icc_mk")
    assert emv.encrypted_arpc(key, arqc, b"\x00\x00") == published


def check_emv_script_mac(engine: Engine, given: Fields, expected: Fields) -> None:
    made = emv.make_script_mac(
        tdes(engine, value(given, "imk_smi"), DERIVE),
        emv.MCHIP_SKD,
        Pan(given["pan"]),
        bytes.fromhex(given.get("command") or given["apdu"]),
        sequence=given["psn"],
        atc=bytes(2),
        arqc=bytes.fromhex(given.get("r") or given["r(arqc)"]),
    )
    assert made == octets(expected, "mac")


def check_emv_icc_mk_b(engine: Engine, given: Fields, expected: Fields) -> None:
    key = emv.derive_card_key(
        tdes(engine, value(given, "imk"), DERIVE),
        Pan(given["pan"]),
        sequence=given["psn"] or "00",
        option=CardKeyOption.B,
    )
    published = octets(expected, "icc_mk_kcv2")
    assert kcv.legacy_kcv(key.full, length=2) == published


# --- TDES DUKPT ----------------------------------------------------------------------


def tdes_terminals(engine: Engine, given: Fields) -> TdesTerminals:
    return TdesTerminals(BaseKey.load(engine, value(given, "bdk")))


def check_tdes_dukpt_ipek(engine: Engine, given: Fields, expected: Fields) -> None:
    base = BaseKey.load(engine, value(given, "bdk"))
    initial = dukpt_tdes.initial_key(base, octets(given, "iksn"))
    assert initial == value(expected, "ipek")


def check_tdes_dukpt_txn(engine: Engine, given: Fields, expected: Fields) -> None:
    terminals, ksn = tdes_terminals(engine, given), octets(given, "ksn")
    data = octets(given, "mac_data")
    pin_value = terminals.derive(ksn, TdesPurpose.PIN)
    variant = bytes.fromhex("00000000000000FF" * 2)
    assert xor(pin_value.reveal(), variant) == octets(expected, "txn_key")
    zone = PinKey(tdes(engine, pin_value, BOTH), PinFormat.ISO_0)
    pan, block = Pan(given["pan"]), PinBlock(octets(expected, "pin_block_enc"))
    assert pin.decrypt(block, pan, zone) == Pin(given["pin"])
    for name, published in expected.items():
        kind, _, direction = name.partition("_")
        purpose = TdesPurpose.__members__.get(name.upper())
        if purpose is None:
            continue
        key = terminals.derive(ksn, purpose)
        if kind == "mac":
            retail = MacKey.load(engine, key, Algorithm.TDES, MacAlgorithm.ALG3)
            mac.verify(retail, data, bytes.fromhex(published))
        else:
            assert direction in {"request", "response"}
            padded = mac.pad(data, Padding.ZEROS, 8)
            encrypted = tdes(engine, key).cbc(padded, bytes(8))
            assert encrypted == bytes.fromhex(published)


def check_tdes_dukpt_cmac(engine: Engine, given: Fields, expected: Fields) -> None:
    terminals = tdes_terminals(engine, given)
    for name, published in expected.items():
        purpose = TdesPurpose[name.upper().removeprefix("C")]
        key = terminals.derive(octets(given, "ksn"), purpose)
        cmac = MacKey.load(engine, key, Algorithm.TDES, MacAlgorithm.CMAC)
        mac.verify(cmac, octets(given, "data"), bytes.fromhex(published))


# --- AES DUKPT -----------------------------------------------------------------------


def aes_terminals(engine: Engine, bdk: str) -> AesTerminals:
    base = Key.load(engine, KeyValue(bytes.fromhex(bdk)), Algorithm.AES, DERIVE)
    return AesTerminals(base, aes_kind(bdk))


def aes_kind(hexadecimal: str) -> KeyKind:
    return KeyKind.AES_128 if len(hexadecimal) == 32 else KeyKind.AES_256


def check_aes_dukpt_ik(engine: Engine, given: Fields, expected: Fields) -> None:
    base = Key.load(engine, value(given, "bdk"), Algorithm.AES, DERIVE)
    kind, terminal = aes_kind(given["bdk"]), octets(given, "ik_id")
    with dukpt_aes.initial_key(base, terminal, kind) as initial:
        assert is_same_key(initial, value(expected, "ik"))


def check_aes_dukpt_update_key(engine: Engine, given: Fields, expected: Fields) -> None:
    terminals = aes_terminals(engine, BASE_OF_INITIAL[given["ik"]])
    with terminals.derive_update_key(octets(given, "ik_id"), DERIVE) as update:
        assert is_same_key(update, value(expected, "update_key"))
    terminals.close()


AES_PURPOSES = {
    "pin_key": AesPurpose.PIN,
    "mac_gen_key": AesPurpose.MAC_GENERATION,
    "data_enc_key": AesPurpose.DATA_ENCRYPTION,
}


def check_aes_dukpt_txn(engine: Engine, given: Fields, expected: Fields) -> None:
    ksn = octets(given, "ksn")
    terminals = aes_terminals(engine, given["bdk"])
    transaction = terminals.transaction_key(ksn)
    assert is_same_key(transaction, value(expected, "txn_key"))
    for name, published in expected.items():
        purpose = AES_PURPOSES.get(name.rpartition("_")[0])
        if purpose is None:
            continue
        with terminals.derive(ksn, purpose, aes_kind(published), DERIVE) as key:
            assert is_same_key(key, value(expected, name))
    if "pin_block_fmt4_enc" in expected:
        filler = octets(given, "fmt4_random")
        block = PinBlock(octets(expected, "pin_block_fmt4_enc"))
        with terminals.derive(ksn, AesPurpose.PIN, aes_kind(given["bdk"]), BOTH) as key:
            zone, pan = PinKey(key, PinFormat.ISO_4), Pan(given["pan"])
            made = pin.encrypt(
                Pin(given["pin"]), pan, zone, random=lambda length: filler[:length]
            )
            assert made == block
            assert pin.decrypt(block, pan, zone) == Pin(given["pin"])
    terminals.close()


def check_aes_dukpt_txn_key(engine: Engine, given: Fields, expected: Fields) -> None:
    terminals = aes_terminals(engine, given["bdk"])
    transaction = terminals.transaction_key(octets(given, "ksn"))
    assert is_same_key(transaction, value(expected, "txn_key"))
    terminals.close()


def check_aes_dukpt_mac_data(engine: Engine, given: Fields, expected: Fields) -> None:
    ksn, data = octets(given, "ksn"), octets(given, "data")
    terminals = aes_terminals(engine, given["bdk"])

    def derive(purpose: AesPurpose, kind: KeyKind, uses: frozenset[Use]) -> Key:
        return terminals.derive(ksn, purpose, kind, uses)

    for way, made, kept in (
        ("Request", AesPurpose.MAC_GENERATION, AesPurpose.DATA_ENCRYPTION),
        ("Response", AesPurpose.MAC_VERIFICATION, AesPurpose.DATA_DECRYPTION),
    ):
        with derive(made, KeyKind.AES_128, MAC) as key:
            assert key.cmac(data) == octets(expected, f"CMAC{way}")
        with derive(made, KeyKind.HMAC_128, MAC) as key:
            assert key.hmac(data) == octets(expected, f"HMAC{way}")
        with derive(kept, KeyKind.AES_128, ENCRYPT) as key:
            padded = mac.pad(data, Padding.ZEROS, 16)
            assert key.cbc(padded, bytes(16)) == octets(expected, f"Data{way}")
    terminals.close()


# --- keys ----------------------------------------------------------------------------


def check_kcv_tdes(engine: Engine, given: Fields, expected: Fields) -> None:
    key = tdes(engine, value(given, "key"))
    assert kcv.legacy_kcv(key) == octets(expected, "kcv")


def check_kcv_aes_cmac(engine: Engine, given: Fields, expected: Fields) -> None:
    key = Key.load(engine, value(given, "key"), Algorithm.AES, MAC)
    assert kcv.cmac_kcv(key) == octets(expected, "kcv")


def check_thales(engine: Engine, given: Fields, expected: Fields) -> None:
    lmk, clear = value(given, "lmk_06_07"), value(given, "clear_key")
    wrapped = variant_lmk.encrypt_key(lmk, clear)
    assert wrapped == expected["key_under_lmk"]
    assert variant_lmk.decrypt_key(lmk, wrapped) == clear
    assert kcv.legacy_kcv(tdes(engine, clear)) == octets(expected, "kcv")


def check_tr31(algorithm: Algorithm) -> Check:
    def check(engine: Engine, given: Fields, expected: Fields) -> None:
        kbpk = tr31.ProtectionKey.load(engine, value(given, "kbpk"), algorithm)
        header, key = tr31.unwrap(kbpk, given["block"])
        assert key == value(expected, "key")
        assert header == tr31.decode_header(given["block"])

    return check


def check_tr31_variant(engine: Engine, given: Fields, expected: Fields) -> None:
    keys = tr31.VariantKeys.load(engine, value(given, "kbpk"))
    _, key = tr31.unwrap_variant(keys, given["block"])
    assert key == value(expected, "key")


def check_aes_key_wrap(engine: Engine, given: Fields, expected: Fields) -> None:
    kek = Key.load(engine, value(given, "kek"), Algorithm.AES, BOTH)
    assert keywrap.wrap_key(kek, value(given, "key")) == octets(expected, "wrapped")
    assert keywrap.unwrap_key(kek, octets(expected, "wrapped")) == value(given, "key")


CHECKS: Mapping[str, Check] = {
    "mac_alg1": check_mac(Algorithm.TDES, MacAlgorithm.ALG1),
    "mac_cbc_tdes": check_mac(Algorithm.TDES, MacAlgorithm.ALG1),
    "mac_alg3": check_mac(Algorithm.TDES, MacAlgorithm.ALG3),
    "mac_alg3_k16k16": check_mac_alg3_k16k16,
    "aes_cmac": check_mac(Algorithm.AES, MacAlgorithm.CMAC),
    "hmac_sha256": check_mac(Algorithm.HMAC, MacAlgorithm.HMAC),
    "pinblock_iso0": check_pinblock_iso0,
    "pinblock_iso1": check_pinblock_iso1,
    "pinblock_iso3_decode": check_pinblock_iso3,
    "pinblock_iso4_decipher": check_pinblock_iso4,
    "visa_pvv": check_visa_pvv,
    "ibm3624_offset": check_ibm3624_offset,
    "cvv": check_cvv,
    "visa_dcvv": check_visa_dcvv,
    "mc_cvc3": check_mc_cvc3,
    "emv_arqc_csk": check_emv_arqc_csk,
    "emv_visa_cvn10": check_emv(emv.VISA_CVN10),
    "emv_visa_cvn18": check_emv(emv.VISA_CVN18),
    "emv_mc_cvn16": check_emv(emv.MCHIP_SKD),
    "emv_mc_cvn17": check_emv(emv.MCHIP_SKD),
    "emv_mc_cvn20": check_emv(emv.MCHIP_COMMON),
    "emv_mc_cvn21": check_emv(emv.MCHIP_COMMON),
    "emv_script_mac": check_emv_script_mac,
    "emv_icc_mk_b": check_emv_icc_mk_b,
    "tdes_dukpt_ipek": check_tdes_dukpt_ipek,
    "tdes_dukpt_txn": check_tdes_dukpt_txn,
    "tdes_dukpt_cmac": check_tdes_dukpt_cmac,
    "aes_dukpt_ik": check_aes_dukpt_ik,
    "aes_dukpt_txn": check_aes_dukpt_txn,
    "aes_dukpt_txn_key": check_aes_dukpt_txn_key,
    "aes_dukpt_update_key": check_aes_dukpt_update_key,
    "aes_dukpt_mac_data": check_aes_dukpt_mac_data,
    "kcv_tdes": check_kcv_tdes,
    "kcv_aes_cmac": check_kcv_aes_cmac,
    "thales_lmk_variant_U": check_thales,
    "tr31_unwrap_A": check_tr31_variant,
    "tr31_unwrap_B": check_tr31(Algorithm.TDES),
    "tr31_unwrap_C": check_tr31_variant,
    "tr31_unwrap_D": check_tr31(Algorithm.AES),
    "tr31_unwrap_E": check_tr31(Algorithm.AES),
    "aes_key_wrap": check_aes_key_wrap,
    **{
        f"emv_arqc_jpos {scheme} {name}": check_emv(version(ac, padding, arpc))
        for scheme, (ac, arpc) in JPOS_SESSIONS.items()
        for name, padding in (("pad00", Padding.ZEROS), ("pad80", Padding.BIT))
    },
}


def check_of(vector: Fields) -> Check:
    function: str = vector["function"]
    if function == "emv_arqc_jpos":
        function += f" {vector['name']}"
    return CHECKS[function]


@pytest.mark.parametrize(
    "vector", VECTORS, ids=[f"{each['function']} {each['name']}" for each in VECTORS]
)
def test_the_published_value_comes_out(engine: Engine, vector: Fields) -> None:
    check_of(vector)(engine, vector["input"], vector["expected"])


def test_no_vector_of_the_reference_is_missing() -> None:
    theirs = reference("crypto-vectors.json")["vectors"]
    counted = Counter(vector["function"] for vector in theirs)
    assert counted == Counter(vector["function"] for vector in VECTORS)
    assert len(VECTORS) == 178
