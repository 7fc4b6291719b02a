"""The figures of a switch, as families that Prometheus reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Literal

from isoswitch.journal.records import RecordKind
from isoswitch.portal.exposition import Family, Sample
from isoswitch.store.times import CommitTimes
from isoswitch.switch.admission import Limit
from isoswitch.switch.counts import Counts
from isoswitch.switch.health import Part
from isoswitch.switch.server import Switch
from isoswitch.switch.status import Status, read_status

LEGS: Mapping[RecordKind, str] = {
    RecordKind.SENDING: "sent",
    RecordKind.ANSWERED: "answered",
    RecordKind.TIMED_OUT: "timed_out",
    RecordKind.NOT_WRITTEN: "not_written",
}
"""What became of a leg, by the record that says so."""

BY_ENDPOINT: Mapping[RecordKind, tuple[str, str]] = {
    RecordKind.REVERSAL_OWED: ("reversals_owed", "Reversals that became owed."),
    RecordKind.FORWARDED: ("saf_sent", "Sends from store and forward."),
    RecordKind.DELIVERED: ("saf_delivered", "Deliveries by store and forward."),
    RecordKind.QUARANTINED: ("saf_quarantined", "Entries that were set aside."),
    RecordKind.LATE: ("late_answers", "Answers after their deadline."),
    RecordKind.UNMATCHED: ("unmatched_answers", "Answers that nobody asked for."),
}
"""Records that are counted by endpoint: the counter's name, and what it counts."""


def families(switch: Switch) -> Iterator[Family]:
    """Give every figure of a switch."""
    counts = switch.counts
    yield from _decisions(counts)
    yield from _legs(counts)
    yield from _failures(switch)
    yield from _state(switch, read_status(switch))
    yield _commit_times(switch.commit_times)


def _decisions(counts: Counts) -> Iterator[Family]:
    yield Family(
        name="isoswitch_transactions_total",
        kind="counter",
        help="Decisions by kind of transaction and outcome.",
        samples=tuple(
            Sample(value=count, labels={"kind": kind, "outcome": code})
            for (kind, code), count in sorted(counts.transactions.items())
        ),
    )
    yield Family(
        name="isoswitch_admission_refusals_total",
        kind="counter",
        help="Requests that exceeded a limit.",
        samples=tuple(
            Sample(value=counts.refusals[limit], labels={"limit": limit})
            for limit in Limit
        ),
    )


def _legs(counts: Counts) -> Iterator[Family]:
    by_result: Counter[tuple[str, str]] = Counter()
    for (kind, endpoint), count in counts.records.items():
        if kind in LEGS:
            by_result[endpoint, LEGS[kind]] += count
    yield Family(
        name="isoswitch_legs_total",
        kind="counter",
        help="Requests to endpoints by what became of them.",
        samples=tuple(
            Sample(value=count, labels={"endpoint": endpoint, "result": result})
            for (endpoint, result), count in sorted(by_result.items())
        ),
    )
    for kind, (name, words) in BY_ENDPOINT.items():
        yield Family(
            name=f"isoswitch_{name}_total",
            kind="counter",
            help=words,
            samples=tuple(
                Sample(value=count, labels={"endpoint": endpoint})
                for (each, endpoint), count in sorted(counts.records.items())
                if each is kind
            ),
        )


def _failures(switch: Switch) -> Iterator[Family]:
    counts = switch.counts
    for name, words, value in (
        ("crypto_failures", "Commands that the crypto process did not run.",
         counts.crypto_failures),
        ("unanswered", "Messages left unanswered because something failed.",
         counts.unanswered),
        ("unheard", "Messages left unanswered because too many were being decided.",
         counts.unheard),
        ("strays_dropped", "Answers nobody waited for that were not written down.",
         switch.strays.dropped_count),
    ):  # fmt: skip
        yield _single(f"isoswitch_{name}_total", "counter", words, value)


def _state(switch: Switch, status: Status) -> Iterator[Family]:
    yield _single("isoswitch_ready", "gauge", "1 when money is taken.", status.is_ready)
    yield Family(
        name="isoswitch_condition",
        kind="gauge",
        help="1 while something is wrong with a part.",
        samples=tuple(
            Sample(value=switch.health.has(part), labels={"part": part})
            for part in Part
        ),
    )
    yield _single(
        "isoswitch_in_flight", "gauge", "Transactions in hand.", status.in_flight
    )
    yield _single(
        "isoswitch_saf_waiting", "gauge", "Entries to deliver.", status.saf_waiting
    )
    for name, words, attribute in (
        ("link_up", "1 when an endpoint is signed on.", "is_up"),
        ("link_waiting", "Requests that wait for an endpoint.", "waiting"),
        ("endpoint_spared", "1 while a breaker keeps requests from it.", "is_spared"),
        ("endpoint_score", "Successes of 1000 of late.", "score"),
    ):
        yield Family(
            name=f"isoswitch_{name}",
            kind="gauge",
            help=words,
            samples=tuple(
                Sample(value=getattr(each, attribute), labels={"endpoint": each.name})
                for each in status.endpoints
            ),
        )
    yield Family(
        name="isoswitch_connections",
        kind="gauge",
        help="Connections of terminals by listener.",
        samples=tuple(
            Sample(value=each.connections, labels={"listener": each.name})
            for each in status.listeners
        ),
    )


def _commit_times(times: CommitTimes) -> Family:
    buckets = [(f"{bound:g}", count) for bound, count in times.buckets()]
    return Family(
        name="isoswitch_store_commit_seconds",
        kind="histogram",
        help="How long units of work waited until they were durable.",
        samples=(
            *(
                Sample(value=count, labels={"le": bound}, suffix="_bucket")
                for bound, count in [*buckets, ("+Inf", times.count)]
            ),
            Sample(value=times.seconds, labels={}, suffix="_sum"),
            Sample(value=times.count, labels={}, suffix="_count"),
        ),
    )


def _single(
    name: str, kind: Literal["counter", "gauge"], words: str, value: float
) -> Family:
    sample = Sample(value=value, labels={})
    return Family(name=name, kind=kind, help=words, samples=(sample,))
