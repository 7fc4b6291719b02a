"""The cards' cryptograms agree with those of another implementation."""

from __future__ import annotations

import pyemv
from hypothesis import given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.secrets import Pan
from isoswitch.simulators.card_crypto import make_arqc

MASTER = bytes.fromhex("0123456789ABCDEFFEDCBA9876543210")
NUMBER = "4761739001010010"


@settings(max_examples=30)
@given(
    atc=st.binary(min_size=2, max_size=2),
    data=st.binary(min_size=1, max_size=60),
)
def test_a_cryptogram_is_that_of_pyemv(atc: bytes, data: bytes) -> None:
    card_key = pyemv.kd.derive_icc_mk_a(MASTER, NUMBER, "00")
    session = pyemv.kd.derive_common_sk(card_key, atc + bytes(6))
    theirs = pyemv.ac.generate_ac(session, data, pyemv.ac.PaddingType.EMV)
    assert make_arqc(MASTER, Pan(NUMBER), "00", atc, data) == theirs
