"""What is found out about a token, and what is said of each function."""

from __future__ import annotations

import pytest

from isoswitch.codecs.canonical.errors import NotSupported
from isoswitch.hsm.capabilities import FUNCTIONS, Capability, Place, probe
from isoswitch.hsm.engine import Algorithm, Engine, Handle, Use
from isoswitch.hsm.software import SoftwareEngine


def test_softhsm_and_software_can_all_that_functions_need(engine: Engine) -> None:
    capabilities = probe(engine)
    needed = {need for function in FUNCTIONS for need in function.needs}
    assert all(capabilities[need] for need in needed)
    # SoftHSM derives no HMAC key under 32 bytes; no function needs one.
    is_software = isinstance(engine, SoftwareEngine)
    assert capabilities[Capability.SHORT_HMAC] is is_software


class WithoutDerivation(SoftwareEngine):
    """A token that derives no keys."""

    def derive(
        self,
        handle: Handle,
        data: bytes,
        algorithm: Algorithm,
        uses: frozenset[Use],
        *,
        length: int = 0,
    ) -> Handle:
        raise NotSupported("the token has no means for it: MechanismInvalid")


class WithWrongHmac(SoftwareEngine):
    """A token that computes wrongly."""

    def hmac(self, handle: Handle, data: bytes) -> bytes:
        return bytes(32)


@pytest.mark.parametrize(
    ("engine_kind", "missing", "functions"),
    [
        (
            WithoutDerivation,
            {Capability.DERIVE_AES, Capability.DERIVE_TDES, Capability.KEY_UNWRAP},
            {"AES DUKPT", "dCVV, CVC3, ARQC and ARPC", "loading stored keys"},
        ),
        (
            WithWrongHmac,
            {Capability.HMAC},
            {"CMAC and HMAC", "sealing and hashing data"},
        ),
    ],
)
def test_a_function_is_unavailable_without_what_it_needs(
    engine_kind: type[SoftwareEngine],
    missing: set[Capability],
    functions: set[str],
) -> None:
    capabilities = probe(engine_kind())
    assert missing <= {name for name, can in capabilities.items() if not can}
    unavailable = {
        function.name
        for function in FUNCTIONS
        if function.place(capabilities) is Place.NOWHERE
    }
    assert functions <= unavailable
    assert "PIN translation" not in unavailable


def test_a_clear_pin_is_never_said_to_stay_in_the_token() -> None:
    capabilities = probe(SoftwareEngine())
    for function in FUNCTIONS:
        if "PIN" in function.name or "PIN" in function.in_memory:
            assert function.place(capabilities) is Place.MEMORY
            assert function.why


def test_what_is_in_memory_has_its_reason() -> None:
    for function in FUNCTIONS:
        assert function.in_memory
        assert not function.why or function.in_memory != "nothing"
