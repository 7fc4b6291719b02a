"""Runs every published vector on an engine.

The table names the check of each function that a vector is for; jPOS's cryptograms
differ by name as well.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from isoswitch.codecs.canonical.errors import IsoswitchError
from isoswitch.hsm.engine import Algorithm, Engine
from isoswitch.hsm.functions import emv
from isoswitch.hsm.functions.mac import MacAlgorithm, Padding
from isoswitch.hsm.vectors import card, dukpt, keys, mac, pin
from isoswitch.hsm.vectors.fields import Check, Fields

FILES = ("mac", "pin", "card", "dukpt", "keys")


@dataclass(frozen=True, slots=True)
class Vector:
    """One published example of a function; its keys are test keys."""

    function: str
    name: str
    given: Fields
    expected: Fields
    source: str

    @property
    def check(self) -> Check:
        """What runs it."""
        function = self.function
        if function == "emv_arqc_jpos":
            function += f" {self.name}"
        return CHECKS[function]


@dataclass(frozen=True, slots=True)
class Failure:
    """A vector that an engine does not reproduce, and why."""

    vector: Vector
    reason: str


@cache
def load_vectors() -> tuple[Vector, ...]:
    """Give all published vectors."""
    return tuple(_read())


def run_vectors(engine: Engine) -> tuple[Counter[str], list[Failure]]:
    """Run all vectors; gives how many passed of each function, and what failed."""
    passed: Counter[str] = Counter()
    failures = []
    for vector in load_vectors():
        try:
            vector.check(engine, vector.given, vector.expected)
        except IsoswitchError as fault:
            failures.append(Failure(vector, str(fault) or type(fault).__name__))
        else:
            passed[vector.function] += 1
    return passed, failures


def _read() -> Iterator[Vector]:
    folder = files("isoswitch.hsm.vectors")
    for name in FILES:
        content = json.loads(folder.joinpath(f"{name}.json").read_text("utf-8"))
        for each in content["vectors"]:
            yield Vector(
                function=each["function"],
                name=each["name"],
                given=each["input"],
                expected=each["expected"],
                source=each["source"],
            )


CHECKS: Mapping[str, Check] = {
    "mac_alg1": mac.check_mac(Algorithm.TDES, MacAlgorithm.ALG1),
    "mac_cbc_tdes": mac.check_mac(Algorithm.TDES, MacAlgorithm.ALG1),
    "mac_alg3": mac.check_mac(Algorithm.TDES, MacAlgorithm.ALG3),
    "mac_alg3_k16k16": mac.check_mac_alg3_k16k16,
    "aes_cmac": mac.check_mac(Algorithm.AES, MacAlgorithm.CMAC),
    "hmac_sha256": mac.check_mac(Algorithm.HMAC, MacAlgorithm.HMAC),
    "pinblock_iso0": pin.check_pinblock_iso0,
    "pinblock_iso1": pin.check_pinblock_iso1,
    "pinblock_iso3_decode": pin.check_pinblock_iso3,
    "pinblock_iso4_decipher": pin.check_pinblock_iso4,
    "visa_pvv": pin.check_visa_pvv,
    "ibm3624_offset": pin.check_ibm3624_offset,
    "cvv": card.check_cvv,
    "visa_dcvv": card.check_visa_dcvv,
    "mc_cvc3": card.check_mc_cvc3,
    "emv_arqc_csk": card.check_emv_arqc_csk,
    "emv_visa_cvn10": card.check_emv(emv.VISA_CVN10),
    "emv_visa_cvn18": card.check_emv(emv.VISA_CVN18),
    "emv_mc_cvn16": card.check_emv(emv.MCHIP_SKD),
    "emv_mc_cvn17": card.check_emv(emv.MCHIP_SKD),
    "emv_mc_cvn20": card.check_emv(emv.MCHIP_COMMON),
    "emv_mc_cvn21": card.check_emv(emv.MCHIP_COMMON),
    "emv_script_mac": card.check_emv_script_mac,
    "emv_icc_mk_b": card.check_emv_icc_mk_b,
    "tdes_dukpt_ipek": dukpt.check_tdes_dukpt_ipek,
    "tdes_dukpt_txn": dukpt.check_tdes_dukpt_txn,
    "tdes_dukpt_cmac": dukpt.check_tdes_dukpt_cmac,
    "aes_dukpt_ik": dukpt.check_aes_dukpt_ik,
    "aes_dukpt_txn": dukpt.check_aes_dukpt_txn,
    "aes_dukpt_txn_key": dukpt.check_aes_dukpt_txn_key,
    "aes_dukpt_update_key": dukpt.check_aes_dukpt_update_key,
    "aes_dukpt_mac_data": dukpt.check_aes_dukpt_mac_data,
    "kcv_tdes": keys.check_kcv_tdes,
    "kcv_aes_cmac": keys.check_kcv_aes_cmac,
    "thales_lmk_variant_U": keys.check_thales,
    "tr31_unwrap_A": keys.check_tr31_variant,
    "tr31_unwrap_B": keys.check_tr31(Algorithm.TDES),
    "tr31_unwrap_C": keys.check_tr31_variant,
    "tr31_unwrap_D": keys.check_tr31(Algorithm.AES),
    "tr31_unwrap_E": keys.check_tr31(Algorithm.AES),
    "aes_key_wrap": keys.check_aes_key_wrap,
    **{
        f"emv_arqc_jpos {scheme} {name}": card.check_emv(
            card.version(ac, padding, arpc)
        )
        for scheme, (ac, arpc) in card.JPOS_SESSIONS.items()
        for name, padding in (("pad00", Padding.ZEROS), ("pad80", Padding.BIT))
    },
}
