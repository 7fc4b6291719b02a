"""Checks of published card verification values and cryptograms."""

from __future__ import annotations

from isoswitch.codecs.canonical.secrets import Pan, Secret
from isoswitch.hsm.engine import Engine
from isoswitch.hsm.functions import cvv, emv, kcv, mac
from isoswitch.hsm.functions.emv import (
    ArpcMethod,
    CardKeyOption,
    CryptogramVersion,
    ScriptKey,
    SessionKey,
)
from isoswitch.hsm.functions.key import DERIVE, ENCRYPT, KeyPair
from isoswitch.hsm.functions.mac import MacKey, Padding
from isoswitch.hsm.vectors.fields import Check, Fields, expect, octets, tdes, value


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
    """Check that a CVV, CVV2 or iCVV verifies."""
    cvv.verify_cvv(
        KeyPair.load(engine, value(given, "cvk"), ENCRYPT),
        Pan(given["pan"]),
        expiry=given["expiry"],
        service_code=given["service_code"],
        cvv=Secret(expected["cvv"]),
    )


def check_visa_dcvv(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check that a dCVV verifies."""
    cvv.verify_dcvv(
        card_key(engine, given),
        Pan(given["pan"]),
        expiry=given["expiry"],
        service_code=given["service_code"],
        atc=int(given["atc"]),
        dcvv=Secret(expected["dcvv"]),
    )


def check_mc_cvc3(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check that a CVC3 verifies."""
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


def version(
    session: SessionKey, padding: Padding, arpc: SessionKey
) -> CryptogramVersion:
    """Give a version of our own making, as jPOS combines its parts."""
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
            expect(arpc, octets(expected, name))

    return check


def check_emv_arqc_csk(engine: Engine, given: Fields, expected: Fields) -> None:
    """The diversifier of this vector is a whole block, as a script's cryptogram is."""
    key = card_key(engine, given)
    expect(kcv.legacy_kcv(key.full, length=2).hex(), expected["icc_mk_kcv2"].lower())
    diversifier = octets(given, "r")
    arqc = octets(expected, "arqc")
    with emv.session_key(key, diversifier) as session:
        expect(kcv.legacy_kcv(session.full, length=2), octets(expected, "sk_kcv2"))
        retail = MacKey.of_pair(session, Padding.BIT)
        mac.verify(retail, octets(given, "data"), arqc)
        authenticated = emv.authenticated_arpc
        zeros, data = bytes(4), bytes.fromhex("1234567890ABCDEF")
        published = octets(expected, "arpc2_csu00000000")
        expect(authenticated(session, arqc, zeros), published)
        published = octets(expected, "arpc2_csu00000000_prop1234567890ABCDEF")
        expect(authenticated(session, arqc, zeros + data), published)
    published = octets(expected, "arpc1_rc0000_with_icc_mk")
    expect(emv.encrypted_arpc(key, arqc, b"\x00\x00"), published)


def check_emv_script_mac(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check the MAC of an issuer script."""
    made = emv.make_script_mac(
        tdes(engine, value(given, "imk_smi"), DERIVE),
        emv.MCHIP_SKD,
        Pan(given["pan"]),
        bytes.fromhex(given.get("command") or given["apdu"]),
        sequence=given["psn"],
        atc=bytes(2),
        arqc=bytes.fromhex(given.get("r") or given["r(arqc)"]),
    )
    expect(made, octets(expected, "mac"))


def check_emv_icc_mk_b(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check a card key of option B by its check value."""
    key = emv.derive_card_key(
        tdes(engine, value(given, "imk"), DERIVE),
        Pan(given["pan"]),
        sequence=given["psn"] or "00",
        option=CardKeyOption.B,
    )
    published = octets(expected, "icc_mk_kcv2")
    expect(kcv.legacy_kcv(key.full, length=2), published)
