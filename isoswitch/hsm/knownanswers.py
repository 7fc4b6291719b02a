"""Known-answer tests of an engine: at start in full, as a health check in brief.

The values are published: NIST SP 800-38B and RFC 4493 (CMAC), RFC 4231 (HMAC), the
GCM specification's test case 2, FIPS 197 (AES), ISO 9797-1 annex B (retail MAC) and
the check value of the best-known TDES test key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from isoswitch.codecs.canonical.errors import HsmError, HsmUnavailable
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.engine import Algorithm, Engine, Use
from isoswitch.hsm.functions.key import DERIVE, ENCRYPT, MAC, Key
from isoswitch.hsm.functions.mac import MacAlgorithm, MacKey, Padding, generate

_BOTH = frozenset({Use.ENCRYPT, Use.DECRYPT})
_TDES = KeyValue(bytes.fromhex("0123456789ABCDEFFEDCBA9876543210"))
_AES = KeyValue(bytes.fromhex("000102030405060708090A0B0C0D0E0F"))
_CMAC = KeyValue(bytes.fromhex("2B7E151628AED2A6ABF7158809CF4F3C"))
_HMAC = KeyValue(b"\x0b" * 20 + bytes(12))  # HMAC pads its key with zeros


class KnownAnswers:
    """The test keys of one engine, loaded once, and what they must compute."""

    def __init__(self, engine: Engine) -> None:
        self._tdes = Key.load(engine, _TDES, Algorithm.TDES, _BOTH)
        self._aes = Key.load(engine, _AES, Algorithm.AES, _BOTH)
        self._base = Key.load(engine, _AES, Algorithm.AES, DERIVE)
        self._cmac = Key.load(engine, _CMAC, Algorithm.AES, MAC)
        self._hmac = Key.load(engine, _HMAC, Algorithm.HMAC, MAC)
        self._retail = MacKey.load(
            engine, _TDES, Algorithm.TDES, MacAlgorithm.ALG3, Padding.ZEROS
        )
        self._seal = Key.load(engine, KeyValue(bytes(16)), Algorithm.AES, _BOTH)

    def check_health(self) -> None:
        """Have the engine compute the answers that create no object.

        Raises
        ------
        HsmUnavailable
            An answer is wrong or does not come.
        """
        _compare(_BRIEF, self)

    def check_all(self) -> None:
        """Have the engine compute every answer; for start-up.

        Raises
        ------
        HsmUnavailable
            An answer is wrong or does not come.
        """
        _compare(_BRIEF, self)
        _compare(_FULL, self)

    def _sealed(self) -> bytes:
        return self._seal.gcm(bytes(16), bytes(12), b"")

    def _opened(self) -> bytes:
        return self._seal.gcm(self._sealed(), bytes(12), b"", decrypt=True)

    def _derived(self) -> bytes:
        data = bytes.fromhex("00112233445566778899AABBCCDDEEFF")
        with self._base.derive(data, Algorithm.AES, ENCRYPT) as key:
            return key.ecb(bytes(16))


_Answers = Mapping[str, tuple[Callable[[KnownAnswers], bytes], str]]

_BRIEF: _Answers = {
    "TDES encryption": (lambda known: known._tdes.ecb(bytes(8))[:3], "08d7b4"),
    "AES encryption": (
        lambda known: known._aes.ecb(bytes.fromhex("00112233445566778899aabbccddeeff")),
        "69c4e0d86a7b0430d8cdb78070b4c55a",
    ),
    "retail MAC": (
        lambda known: generate(known._retail, b"Now is the time for all "),
        "a1c72e74ea3fa9b6",
    ),
    "AES-CMAC": (
        lambda known: known._cmac.cmac(b""),
        "bb1d6929e95937287fa37d129b756746",
    ),
    "HMAC-SHA-256": (
        lambda known: known._hmac.hmac(b"Hi There"),
        "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
    ),
}
_FULL: _Answers = {
    "TDES decryption": (
        lambda known: known._tdes.ecb(known._tdes.ecb(bytes(8)), decrypt=True),
        bytes(8).hex(),
    ),
    "AES-CBC": (
        lambda known: known._aes.cbc(
            known._aes.cbc(bytes(32), bytes(16)), bytes(16), decrypt=True
        ),
        bytes(32).hex(),
    ),
    "AES-GCM sealing": (
        KnownAnswers._sealed,
        "0388dace60b6a392f328c2b971b2fe78ab6e47d42cec13bdf53a67b21257bddf",
    ),
    "AES-GCM opening": (KnownAnswers._opened, bytes(16).hex()),
    # AES under the ciphertext of FIPS 197, appendix C.1.
    "derivation": (KnownAnswers._derived, "bc0af62cf89b3a9379b55d589f96b00b"),
}


def _compare(answers: _Answers, known: KnownAnswers) -> None:
    for name, (compute, expected) in answers.items():
        try:
            answer = compute(known)
        except HsmError as fault:
            raise HsmUnavailable(f"known-answer test of {name} failed") from fault
        if answer.hex() != expected:
            raise HsmUnavailable(f"known-answer test of {name} failed: wrong answer")
