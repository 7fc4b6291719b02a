"""What a glance at a request tells, against reading all of it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoswitch.codecs.canonical.codes import Function, Kind
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.dialects.glance import glance
from isoswitch.codecs.dialects.registry import get_dialect
from tests.codecs.dialects.strategies import NOW, legs, transactions
from tests.codecs.dialects.test_dialect import DIALECTS, LEG, PURCHASE, SERVED, read


@pytest.mark.parametrize(("name", "kind"), SERVED)
@settings(max_examples=12)
@given(data=st.data())
def test_a_glance_tells_what_reading_tells(
    name: str, kind: Kind, data: st.DataObject
) -> None:
    dialect = get_dialect(name)
    leg = data.draw(legs())
    txn = data.draw(transactions(dialect, kind, leg))
    message = dialect.to_request(txn, leg, mac=data.draw(st.booleans()))
    seen = glance(dialect, message, reference=NOW, currency="978")
    has_happened = txn.function is not Function.REQUEST or txn.kind is Kind.REVERSAL
    if seen is None:
        assert has_happened
        return
    whole = read(dialect, message)
    assert not has_happened
    assert (seen.mti, seen.kind) == (message.mti, whole.kind)
    assert seen.is_repeat is whole.is_repeat
    assert (seen.terminal_id, seen.stan) == (whole.terminal_id, whole.stan)
    assert seen.moment == (whole.local_at or whole.transmitted_at)


@DIALECTS
def test_a_glance_refuses_a_time_that_makes_no_sense(name: str) -> None:
    dialect = get_dialect(name)
    message = dialect.to_request(PURCHASE, LEG, mac=False)
    local = str(message[12])
    senseless = message.replace({12: local[:-6] + "996199"})
    with pytest.raises(DecodeError, match="not a date and time"):
        glance(dialect, senseless, reference=NOW, currency="978")


@DIALECTS
def test_a_network_message_is_not_for_a_glance(name: str) -> None:
    dialect = get_dialect(name)
    message = dialect.network_request(Kind.ECHO, stan="000001", transmitted_at=NOW)
    assert glance(dialect, message, reference=NOW, currency="978") is None


def test_a_card_message_is_read_whole() -> None:
    dialect = get_dialect("caaa")
    message = dialect.codec.decode(dialect.to_request(PURCHASE, LEG, mac=False).raw)
    seen = glance(dialect, message, reference=NOW, currency="978")
    whole = read(dialect, message)
    assert seen is not None
    assert (seen.terminal_id, seen.stan) == (whole.terminal_id, whole.stan)
    assert (seen.kind, seen.moment) == (whole.kind, whole.local_at)
