"""Whatever a command brings, it ends in a result or in an error that says no secret."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.errors import HsmError, VerificationFailed
from isoswitch.codecs.canonical.secrets import KeyValue
from isoswitch.hsm.functions.emv import VERSIONS
from isoswitch.hsm.handlers.table import HANDLERS
from isoswitch.hsm.port import AnyCommand, Splice
from isoswitch.hsm.software import SoftwareEngine
from isoswitch.hsm.vault import Vault
from isoswitch.hsm.wire import FrameBuffer, Request, decode_requests, encode, frame
from tests.hsm.handlers.payments import KEYS, payments_on

SERVICE = payments_on(Vault.of_value(SoftwareEngine(), KeyValue(bytes(32))))
NAMES = st.sampled_from([plan.name for plan, _ in KEYS] + ["nobody", ""])
DIGITS = st.text("0123456789", max_size=20)
KSN = st.sampled_from(
    [b"", bytes(10), bytes(12)]
    + [bytes.fromhex(f"FFFF9876543210E0000{n}") for n in (1, 3)]
    + [bytes.fromhex(f"12345678901234560000000{n}") for n in (1, 5)]
)
OF_FIELD: dict[str, st.SearchStrategy[Any]] = {
    "key": NAMES,
    "source": NAMES,
    "target": NAMES,
    "ksn": KSN | st.binary(max_size=13),
    "pan": st.just("4761739001010010") | DIGITS | st.text(max_size=19),
    "version": st.sampled_from([*VERSIONS, ""]),
    "option": st.sampled_from(["A", "B", "B_ALWAYS", "C", ""]),
    "sequence": st.sampled_from(["00", "01", "", "x", "\u0660\u0660"]),
    "service_code": st.sampled_from(["101", "000", "1", "abc"]),
    "expiry": st.sampled_from(["2512", "25", "abcd"]),
    "source_format": st.integers(-1, 5),
    "target_format": st.integers(-1, 5),
    "atc": st.integers(-1, 65_536) | st.just(7),
    "splice": st.none() | st.builds(Splice, offset=st.integers(-1, 9)),
}
OF_TYPE: dict[Any, st.SearchStrategy[Any]] = {
    str: DIGITS | st.text(max_size=8),
    bytes: st.sampled_from([bytes(n) for n in (0, 2, 4, 8, 16)])
    | st.binary(max_size=40),
    int: st.integers(-1, 12),
}


def commands_of(kind: type) -> st.SearchStrategy[Any]:
    """Give commands of a kind with values that are right, nearly right or wild."""
    hints = get_type_hints(kind)
    return st.builds(
        kind,
        **{
            # The counter is bytes in cryptograms, a number in card values.
            name: OF_TYPE[bytes]
            if hints[name] is bytes and name == "atc"
            else OF_FIELD.get(name, OF_TYPE.get(hints[name], st.nothing()))
            for name in kind.__struct_fields__  # type: ignore[attr-defined] a Struct
        },
    )


@pytest.mark.parametrize("kind", HANDLERS, ids=lambda kind: kind.__name__)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_input_has_a_result_or_a_typed_error(
    kind: type, data: st.DataObject
) -> None:
    command = data.draw(commands_of(kind))
    try:
        results = SERVICE.execute([command])
    except (HsmError, VerificationFailed) as fault:
        text = str(fault)
        for name in ("pan", "pvv", "offset", "value"):
            secret = getattr(command, name, "")
            assert len(secret) < 4 or secret not in text
    else:
        assert len(results) == 1


@pytest.mark.parametrize("kind", HANDLERS, ids=lambda kind: kind.__name__)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_every_command_crosses_the_socket_as_it_is(
    kind: type, data: st.DataObject
) -> None:
    command = data.draw(commands_of(kind))
    request = Request(1, [command])
    stream = frame([encode(request)], bytes_max=65_536)
    (body,) = FrameBuffer(bytes_max=65_536).feed(stream)
    assert decode_requests(body) == [request]
    assert repr(command) == f"{kind.__name__}(***)"


def test_every_command_of_the_port_has_its_handler() -> None:
    handled = set(SERVICE._handlers)
    assert handled == set(get_args(AnyCommand))
