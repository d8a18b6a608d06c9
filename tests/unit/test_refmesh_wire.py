"""Bytes: STUN, control frames, segmentation and merging."""

from __future__ import annotations

import contextlib
import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlays.refmesh.core import offload, packets
from overlays.refmesh.errors import MalformedMessage
from overlays.refmesh.wire import control, stun


def test_a_stun_answer_carries_the_address_xored() -> None:
    transaction = bytes(range(12))
    answer = stun.response(transaction, ("192.0.2.1", 32853))
    # RFC 5769, section 2.2: 192.0.2.1 port 32853 becomes a147 e112a643
    assert answer[-8:].hex() == "0001a147e112a643"
    assert stun.read_response(answer) == (transaction, ("192.0.2.1", 32853))
    assert stun.read_response(stun.response(transaction, ("2001:db8::1", 9))) == (transaction, ("2001:db8::1", 9))


def test_a_stun_request_with_an_unknown_required_attribute_is_not_answered() -> None:
    request = stun.request(bytes(12))
    assert stun.read_request(request) == bytes(12)
    unknown = struct.pack(">HH4s", 0x0003, 4, bytes(4))
    longer = request[:2] + struct.pack(">H", len(unknown)) + request[4:] + unknown
    assert stun.is_stun(longer)
    assert stun.read_request(longer) is None


@given(st.binary(max_size=200))
def test_stun_and_control_readers_survive_anything(data: bytes) -> None:
    if stun.is_stun(data):
        stun.read_request(data)
        with contextlib.suppress(MalformedMessage):
            stun.read_response(data)
    try:
        control.read(data)
        control.unpack_endpoint(data)
    except MalformedMessage:
        pass


def test_endpoints_survive_the_wire() -> None:
    for endpoint in (("192.0.2.7", 7), ("2001:db8::5", 65535), None):
        assert control.unpack_endpoint(control.pack_endpoint(endpoint)) == endpoint


@pytest.mark.parametrize("value", [["10.0.0.1"], ["nowhere", 1], ["10.0.0.1", 0], ["224.0.0.1", 5], ["0.0.0.0", 5], 7])
def test_what_is_no_unicast_endpoint_is_refused(value: object) -> None:
    with pytest.raises(MalformedMessage):
        control.valid_endpoint(value)


def ones_sum_of_rfc1071(data: bytes) -> int:
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


@given(st.binary(max_size=3000))
def test_the_quick_sum_is_the_slow_sum(data: bytes) -> None:
    # 0 and 65535 are the same number in ones' complement.
    assert offload.ones_sum(data) % 0xFFFF == ones_sum_of_rfc1071(data) % 0xFFFF


def tcp_packet(payload: bytes, *, v6: bool = False, seq: int = 0xFFFFFF00, flags: int = 0x18) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", 1000, 2000, seq, 77, 0x80, flags, 500, 0, 0) + bytes(range(12))
    if v6:
        return struct.pack("!IHBB", 6 << 28, len(tcp) + len(payload), 6, 64) + bytes(range(32)) + tcp + payload
    length = 20 + len(tcp) + len(payload)
    head = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, length, 0xFFFE, 0x4000, 64, 6, 0, bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
    )
    return head + tcp + payload


def checksums_are_right(packet: bytes) -> bool:
    if packet[0] >> 4 == 4:
        pseudo = packet[12:20] + bytes((0, 6)) + struct.pack("!H", len(packet) - 20)
        return ones_sum_of_rfc1071(packet[:20]) == 0xFFFF and ones_sum_of_rfc1071(pseudo + packet[20:]) == 0xFFFF
    pseudo = packet[8:40] + struct.pack("!II", len(packet) - 40, 6)
    return ones_sum_of_rfc1071(pseudo + packet[40:]) == 0xFFFF


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("length", [1, 1000, 1348, 1349, 40_000, 60_660])
def test_a_large_packet_is_cut_into_valid_segments_and_joined_again(v6: bool, length: int) -> None:
    payload = random.Random(length).randbytes(length)
    start = 40 if v6 else 20
    header = offload.HEADER.pack(1, 4 if v6 else 1, start + 32, 1348, start, 16)
    segments = offload.split(header, tcp_packet(payload, v6=v6))
    assert len(segments) == -(-length // 1348)
    assert all(map(checksums_are_right, segments))
    assert b"".join(segment[start + 32 :] for segment in segments) == payload
    assert [segment[start + 13] for segment in segments] == [0x10] * (len(segments) - 1) + [0x18]
    merged = list(offload.merge(segments))
    assert len(merged) == 1
    assert b"".join(merged[0][2 if len(segments) > 1 else 1 :])[-length:] == payload
    if len(segments) > 1:
        flags, kind, _, size, csum_start, csum_offset = offload.HEADER.unpack(merged[0][0])
        assert (flags, kind, size, csum_start, csum_offset) == (1, 4 if v6 else 1, 1348, start, 16)


def test_segments_of_two_flows_or_out_of_order_are_not_joined() -> None:
    header = offload.HEADER.pack(1, 1, 52, 1348, 20, 16)
    segments = offload.split(header, tcp_packet(bytes(5000)))
    other = tcp_packet(bytes(1348), seq=5)
    assert len(list(offload.merge([segments[0], segments[2]]))) == 2
    assert len(list(offload.merge([segments[0], other, segments[1]]))) == 3
    assert len(list(offload.merge([segments[1], segments[0]]))) == 2


def test_a_packet_without_its_checksum_gets_it() -> None:
    packet = bytearray(tcp_packet(b"some data"))
    pseudo = bytes(packet[12:20]) + bytes((0, 6)) + struct.pack("!H", len(packet) - 20)
    packet[36:38] = struct.pack("!H", ones_sum_of_rfc1071(pseudo))
    done = offload.split(offload.HEADER.pack(1, 0, 52, 0, 20, 16), bytes(packet))[0]
    assert ones_sum_of_rfc1071(pseudo + done[20:]) == 0xFFFF


@given(st.binary(max_size=100))
def test_packet_readers_survive_anything(data: bytes) -> None:
    trimmed = packets.trim(data)
    assert trimmed == b"" or data.startswith(trimmed)
    packets.source_bytes(data)
    packets.destination_bytes(data)
    offload.split(offload.HEADER.pack(1, 1, 52, 1348, 20, 16), data)
    list(offload.merge([data, data]))


def test_padding_is_taken_off() -> None:
    packet = tcp_packet(b"abc")
    assert packets.trim(packet + bytes(7)) == packet
    assert packets.trim(packet[:-1]) == b""
