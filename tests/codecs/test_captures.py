"""Recordings become what each side said."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoswitch.codecs import captures
from isoswitch.codecs.canonical.errors import DecodeError
from isoswitch.codecs.captures import is_capture, read_capture
from tests.codecs.packets import (
    SYN,
    Segment,
    ethernet,
    ipv4,
    ipv6,
    linux_cooked,
    pcap,
    pcapng,
)


def said(data: bytes) -> list[tuple[str, bytes, bool]]:
    return [
        (each.source, each.octets, each.begins_late)
        for each in read_capture(data).stretches
    ]


def connection(*segments: Segment) -> bytes:
    opening = Segment(sequence=0, flags=SYN)
    return pcap([ipv4(each) for each in (opening, *segments)])


def test_both_sides_of_a_connection_are_heard() -> None:
    data = connection(
        Segment(payload=b"0800", sequence=1),
        Segment(payload=b"0810", sequence=77, from_server=True),
        Segment(payload=b"0200", sequence=5),
    )
    assert said(data) == [
        ("10.0.0.1:40000", b"08000200", False),
        ("10.0.0.2:8583", b"0810", True),
    ]
    chunks = read_capture(data).stretches[0].chunks
    assert [(each.packet, each.time_s) for each in chunks] == [(2, 1.001), (4, 1.003)]


@pytest.mark.parametrize(
    ("segments", "stretches"),
    [
        pytest.param([(5, b"EF"), (1, b"ABCD")], [b"ABCDEF"], id="out of order"),
        pytest.param([(1, b"ABCD"), (1, b"ABCD"), (5, b"E")], [b"ABCDE"], id="again"),
        pytest.param([(1, b"ABCD"), (3, b"CDEF")], [b"ABCDEF"], id="overlapping"),
        pytest.param([(1, b"ABCDEF"), (3, b"CD")], [b"ABCDEF"], id="inside"),
        pytest.param([(1, b"AB"), (9, b"YZ")], [b"AB", b"YZ"], id="a gap"),
        pytest.param([(3, b"CD")], [b"CD"], id="the first one is missing"),
    ],
)
def test_segments_are_put_in_order(
    segments: list[tuple[int, bytes]], stretches: list[bytes]
) -> None:
    found = said(connection(*(Segment(payload=p, sequence=at) for at, p in segments)))
    assert [octets for _, octets, _ in found] == stretches
    lates = [late for _, _, late in found]
    assert lates == [segments[0][0] == 3 and len(segments) == 1, True][: len(lates)]


def test_sequence_numbers_start_over() -> None:
    last = 2**32 - 2
    segments = [
        Segment(sequence=last - 1, flags=SYN),
        Segment(payload=b"ABCD", sequence=last),
        Segment(payload=b"EF", sequence=2),
    ]
    assert said(pcap([ipv4(each) for each in segments]))[0][1] == b"ABCDEF"


def test_a_port_used_again_is_another_connection() -> None:
    segments = [
        Segment(sequence=0, flags=SYN),
        Segment(payload=b"AB"),
        Segment(sequence=9000, flags=SYN),
        Segment(payload=b"CD", sequence=9001),
    ]
    found = said(pcap([ipv4(each) for each in segments]))
    assert [octets for _, octets, _ in found] == [b"AB", b"CD"]


PACKET = Segment(payload=b"0800")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(pcap([ipv4(PACKET)]), id="pcap"),
        pytest.param(pcap([ipv4(PACKET)], order=">"), id="big endian"),
        pytest.param(pcapng([ipv4(PACKET)]), id="pcapng"),
        pytest.param(pcapng([ipv4(PACKET)], order=">"), id="pcapng big endian"),
        pytest.param(pcapng([ipv4(PACKET)], simple=True), id="simple blocks"),
        pytest.param(pcap([ethernet(ipv4(PACKET))], link_type=1), id="ethernet"),
        pytest.param(
            pcap([ethernet(ipv4(PACKET), vlan=True)], link_type=1), id="tagged"
        ),
        pytest.param(pcap([linux_cooked(ipv4(PACKET))], link_type=113), id="cooked"),
    ],
)
def test_files_and_link_layers_are_read(data: bytes) -> None:
    assert is_capture(data)
    assert said(data) == [("10.0.0.1:40000", b"0800", True)]


@pytest.mark.parametrize("options", [False, True])
def test_the_newer_protocol_is_read(options: bool) -> None:
    frame = ethernet(ipv6(PACKET, options=options), kind=0x86DD)
    found = said(pcap([frame], link_type=1))
    assert found == [("[::a00:1]:40000", b"0800", True)]
    assert said(pcap([ipv6(PACKET)]))[0][1] == b"0800"


@pytest.mark.parametrize(
    ("packet", "link_type", "why"),
    [
        (ipv4(PACKET, protocol=17), 101, "not TCP"),
        (ipv6(PACKET, following=17), 101, "not TCP"),
        (ipv4(PACKET, fragment=0x2000), 101, "fragment"),
        (ipv6(PACKET, following=44), 101, "fragment"),
        (ethernet(b"", kind=0x0806), 1, "not IP"),
        (ipv4(PACKET), 147, "link layer 147 is not known"),
        (b"", 101, "cut short"),
        (ipv4(PACKET)[:30], 101, "cut short"),
    ],
)
def test_other_packets_are_counted(packet: bytes, link_type: int, why: str) -> None:
    capture = read_capture(pcap([packet], link_type=link_type))
    assert capture.stretches == ()
    assert capture.skipped == {why: 1}


@pytest.mark.parametrize(
    ("options", "time_s"),
    [
        (b"", 5e-6),
        (struct.pack("<HHB3x", 9, 1, 9), 5e-9),
        (struct.pack("<HHB3x", 9, 1, 0x80 | 10), 5 / 1024),
        (struct.pack("<HH4sHHB3x", 2, 4, b"eth0", 9, 1, 3), 5e-3),
    ],
)
def test_the_unit_of_time_is_an_option(options: bytes, time_s: float) -> None:
    data = pcapng([b""] * 5 + [ipv4(PACKET)], options=options)
    (stretch,) = read_capture(data).stretches
    assert stretch.chunks[0].time_s == pytest.approx(time_s)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"0800", "neither pcap nor pcapng"),
        (pcap([])[:10], "ends inside its header"),
        (pcapng([])[:28] + struct.pack("<III", 1, 13, 0), "length of a block"),
        (pcapng([])[:28] + pcapng([b""])[48:], "unknown interface"),
    ],
)
def test_a_broken_recording_is_refused(data: bytes, why: str) -> None:
    with pytest.raises(DecodeError, match=why):
        read_capture(data)


def test_a_recording_may_end_anywhere() -> None:
    for make in (pcap, pcapng):
        data = make([ipv4(PACKET), ipv4(Segment(payload=b"0200", sequence=5))])
        for size in range(24, len(data)):
            found = read_capture(data[:size]).stretches
            assert b"08000200".startswith(b"".join(each.octets for each in found))


def test_recordings_have_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    ports = [Segment(payload=b"A", client_port=port) for port in (1, 2, 3)]
    data = pcap([ipv4(each) for each in ports])
    monkeypatch.setattr(captures, "FLOWS_MAX", 2)
    capture = read_capture(data)
    assert len(capture.stretches) == 2
    assert capture.skipped == {"of more than 2 flows": 1}
    monkeypatch.setattr(captures, "PACKETS_MAX", 2)
    with pytest.raises(DecodeError, match="over 2 packets"):
        read_capture(data)
    monkeypatch.setattr(captures, "CAPTURE_BYTES_MAX", 20)
    with pytest.raises(DecodeError, match="over 20 bytes"):
        read_capture(data)


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6),
    st.randoms(use_true_random=False),
)
def test_any_order_of_packets_gives_the_stream(
    sizes: list[int], chance: random.Random
) -> None:
    stream = bytes(range(256))[: sum(sizes)]
    segments, at = [], 0
    for size in sizes:
        piece = stream[at : at + size]
        segments += [Segment(payload=piece, sequence=1 + at)] * chance.randint(1, 2)
        at += size
    chance.shuffle(segments)
    assert [octets for _, octets, _ in said(connection(*segments))] == [stream]


@pytest.mark.skipif(shutil.which("text2pcap") is None, reason="no text2pcap here")
@pytest.mark.parametrize("options", [[], ["-n"], ["-F", "pcap"]])
def test_what_wireshark_writes_is_read(options: list[str], tmp_path: Path) -> None:
    """An independent writer; the format it takes by default is pcapng or pcap."""
    dump, file = tmp_path / "dump.txt", tmp_path / "file"
    dump.write_text("0000  30 38 30 30\n0000  30 38 31 30\n")
    command = ["text2pcap", "-q", "-T", "40000,8583", *options, str(dump), str(file)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"this text2pcap does not take {options}")
    assert [octets for _, octets, _ in said(file.read_bytes())] == [b"08000810"]
