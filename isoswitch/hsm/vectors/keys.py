"""Checks of published check values, key blocks and wrapped keys."""

from __future__ import annotations

from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine
from isoswitch.hsm.functions import kcv, keywrap, tr31
from isoswitch.hsm.functions.key import MAC, Key
from isoswitch.hsm.vectors.fields import (
    BOTH,
    Check,
    Fields,
    expect,
    octets,
    tdes,
    value,
)


def check_kcv_tdes(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check the check value of a TDES key."""
    key = tdes(engine, value(given, "key"))
    expect(kcv.legacy_kcv(key), octets(expected, "kcv"))


def check_kcv_aes_cmac(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check the check value of an AES key."""
    key = Key.load(engine, value(given, "key"), Algorithm.AES, MAC)
    expect(kcv.cmac_kcv(key), octets(expected, "kcv"))


def check_thales(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check a key in scheme U: each half under its own variant of the master key."""
    master, wrapped = octets(given, "lmk_06_07"), bytearray()
    clear = octets(given, "clear_key")
    for half, variant in ((clear[:8], 0xA6), (clear[8:], 0x5A)):
        under = bytearray(master)
        under[8] ^= variant
        wrapped += tdes(engine, KeyValue(bytes(under))).ecb(half)
    expect("U" + wrapped.hex().upper(), expected["key_under_lmk"])
    expect(kcv.legacy_kcv(tdes(engine, KeyValue(clear))), octets(expected, "kcv"))


def check_tr31(algorithm: Algorithm) -> Check:
    """Give the check of key blocks of version B, D or E."""

    def check(engine: Engine, given: Fields, expected: Fields) -> None:
        kbpk = tr31.ProtectionKey.load(engine, value(given, "kbpk"), algorithm)
        header, key = tr31.unwrap(kbpk, given["block"])
        expect(key, value(expected, "key"))
        expect(header, tr31.decode_header(given["block"]))

    return check


def check_tr31_variant(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check that a key block of version A or C opens."""
    keys = tr31.VariantKeys.load(engine, value(given, "kbpk"))
    _, key = tr31.unwrap_variant(keys, given["block"])
    expect(key, value(expected, "key"))


def check_aes_key_wrap(engine: Engine, given: Fields, expected: Fields) -> None:
    """Check an AES key wrap, both ways."""
    kek = Key.load(engine, value(given, "kek"), Algorithm.AES, BOTH)
    expect(keywrap.wrap_key(kek, value(given, "key")), octets(expected, "wrapped"))
    expect(keywrap.unwrap_key(kek, octets(expected, "wrapped")), value(given, "key"))
