"""What numpy does to many packets at once is what is done to each, one by one."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overlays.refmesh.core import bulk, large, offload, packets
from overlays.refmesh.core.keypair import Keypair
from overlays.refmesh.core.noise import TransportKeys

HEADER_AT = {4: 20, 6: 40}


def keypairs() -> tuple[Keypair, Keypair]:
    one, other = bytes(range(32)), bytes(range(1, 33))
    return (
        Keypair(TransportKeys(send=one, receive=other, local_index=1, remote_index=2, initiator=True), 0.0),
        Keypair(TransportKeys(send=other, receive=one, local_index=2, remote_index=1, initiator=False), 0.0),
    )


def large_packet(version: int, payload: bytes, *, seq: int, ident: int, flags: int, options: bytes) -> bytes:
    tcp = struct.pack("!HHIIBBHHH", 1000, 2000, seq, 77, (20 + len(options)) << 2, flags, 500, 9, 0) + options
    if version == 6:
        return struct.pack("!IHBB", 6 << 28, len(tcp) + len(payload), 6, 64) + bytes(range(32)) + tcp + payload
    length = 20 + len(tcp) + len(payload)
    addresses = bytes((10, 0, 0, 1, 10, 0, 0, 2))
    return struct.pack("!BBHHHBBH", 0x45, 0, length, ident, 0x4000, 64, 6, 0) + addresses + tcp + payload


large_packets = st.builds(
    lambda version, size, count, short, fill, **fields: (
        size,
        large_packet(version, (fill * (size * count))[: max(1, size * count - short)], **fields),
    ),
    st.sampled_from((4, 6)),
    size=st.integers(300, 1400),
    count=st.integers(1, 43),
    short=st.integers(0, 299),
    fill=st.binary(min_size=1, max_size=64),
    seq=st.integers(0, 2**32 - 1),
    ident=st.integers(0, 65535),
    flags=st.sampled_from((0x10, 0x18, 0x11)),
    options=st.sampled_from((b"", bytes(range(12)), bytes(40))),
)


def cut_up(data: memoryview, size: int) -> list[bytes]:
    return [bytes(data[i : i + size]) for i in range(0, len(data), size)]


def shape(packet: bytes) -> tuple[int, int]:
    tcp = HEADER_AT[packet[0] >> 4]
    return tcp, tcp + (packet[tcp + 12] >> 4) * 4


def written(merged: Sequence[Sequence[bytes | memoryview]]) -> list[bytes]:
    return [b"".join(buffers) for buffers in merged]


@given(large_packets, st.sampled_from((b"", b"prefixed")), st.booleans())
def test_sealed_rows_are_what_sealing_one_by_one_gives(sized: tuple[int, bytes], prefix: bytes, chunks: bool) -> None:
    size, packet = sized
    tcp, data = shape(packet)
    (fast, _), (slow, _) = keypairs(), keypairs()
    run = large.seal(fast, memoryview(packet), tcp, size, chunks=chunks, prefix=prefix)
    if chunks:
        expected = bulk.seal(slow, memoryview(packet), tcp, data, size)
    else:
        header = offload.HEADER.pack(1, 1 if tcp == 20 else 4, data, size, tcp, 16)
        expected = slow.seal_many(offload.split(header, packet))
    if run is None:
        assert fast.counter == 0
        assert len(expected) < large.MIN_ROWS or len(expected) * (len(expected[0]) + len(prefix)) > 65000
        return
    assert cut_up(run.data, run.size) == [prefix + message for message in expected]
    assert fast.counter == slow.counter


@given(large_packets, st.sampled_from((b"", b"prefixed")), st.booleans())
def test_opened_rows_are_what_opening_one_by_one_gives(sized: tuple[int, bytes], prefix: bytes, chunks: bool) -> None:
    size, packet = sized
    tcp, _ = shape(packet)
    (sender, fast), (_, slow) = keypairs(), keypairs()
    run = large.seal(sender, memoryview(packet), tcp, size, chunks=chunks, prefix=prefix)
    if run is None:
        return
    datagrams = [datagram[len(prefix) :] for datagram in cut_up(run.data, run.size)]
    opened = large.unseal(fast, run.data, run.size, chunks=chunks, prefix=len(prefix))
    assert opened is not None
    if chunks:
        plains = bulk.unseal(slow, datagrams)
        merged = [rebuilt.buffers for rebuilt in bulk.rebuild(plains)]
    else:
        plains = slow.open_many(datagrams)
        merged = [list(buffers) for buffers in offload.merge([packets.trim(plain) for plain in plains])]
    assert opened.payloads() == plains
    rebuilt = large.rebuild(opened, chunks=chunks)
    if rebuilt is None:
        assert not chunks
        assert len(merged) > 1 or packet[tcp + 13] & 1
    else:
        assert written([rebuilt.buffers]) == written(merged)
        assert rebuilt.length == len(written(merged)[0]) - offload.HEADER.size
    # All of it again is a replay, for both ways of opening.
    assert large.unseal(fast, run.data, run.size, chunks=chunks, prefix=len(prefix)) is None
    assert (bulk.unseal(fast, datagrams) if chunks else fast.open_many(datagrams)) == []


@pytest.mark.parametrize("chunks", [False, True])
@given(position=st.integers(0), bit=st.integers(0, 7), count=st.integers(4, 20))
def test_one_forged_bit_keeps_all_rows_shut_and_leaves_no_trace(
    chunks: bool, position: int, bit: int, count: int
) -> None:
    packet = large_packet(4, bytes(1000 * count - 7), seq=1, ident=1, flags=0x10, options=b"")
    sender, receiver = keypairs()
    run = large.seal(sender, memoryview(packet), 20, 1000, chunks=chunks, prefix=b"")
    assert run is not None
    forged = bytearray(run.data)
    at = position % len(forged)
    forged[at] ^= 1 << bit
    if at % run.size >= 8 or at >= run.size:
        # The first datagram's type and index are for the caller, who has found the keys by them.
        assert large.unseal(receiver, memoryview(forged), run.size, chunks=chunks, prefix=0) is None
    whole = cut_up(run.data, run.size)
    assert len(bulk.unseal(receiver, whole) if chunks else receiver.open_many(whole)) == count


def rows_of(segments: Sequence[bytes]) -> large.Opened | None:
    sender, receiver = keypairs()
    sealed = sender.seal_many(segments)
    data = memoryview(b"".join(sealed))
    return large.unseal(receiver, data, len(sealed[0]), chunks=False, prefix=0)


@given(st.lists(st.integers(0, 5), min_size=4, max_size=6), st.integers(0, 63), st.integers(0, 255))
def test_rows_are_joined_only_if_packets_would_be(order: list[int], position: int, value: int) -> None:
    packet = large_packet(4, bytes(6000), seq=2**32 - 2000, ident=65534, flags=0x10, options=bytes(12))
    segments = offload.split(offload.HEADER.pack(1, 1, 52, 1000, 20, 16), packet)
    batch = [segments[number] for number in order]
    changed = bytearray(batch[-2])
    changed[position] = value
    batch[-2] = bytes(changed)
    opened = rows_of(batch)
    assert opened is not None
    rebuilt = large.rebuild(opened, chunks=False)
    merged = [list(buffers) for buffers in offload.merge([packets.trim(plain) for plain in opened.payloads()])]
    if rebuilt is not None:
        assert written([rebuilt.buffers]) == written(merged)
    else:
        assert len(merged) > 1


@pytest.mark.parametrize("chunks", [False, True])
def test_each_read_is_itself_though_the_buffers_are_the_same(chunks: bool) -> None:
    sender, receiver = keypairs()
    rebuilt = []
    for octets in (20_000, 19_000, 20_000, 9_001):  # the same rows, but for their number and the last one's length
        content = random.Random(octets).randbytes(octets)
        packet = memoryview(large_packet(4, content, seq=1, ident=1, flags=0x10, options=b""))
        run = large.seal(sender, packet, 20, 1000, chunks=chunks, prefix=b"")
        assert run is not None
        opened = large.unseal(receiver, memoryview(bytes(run.data)), run.size, chunks=chunks, prefix=0)
        assert opened is not None
        rebuilt.append((octets, large.rebuild(opened, chunks=chunks)))
    for octets, found in rebuilt:
        assert found is not None
        assert b"".join(found.buffers)[-octets:] == random.Random(octets).randbytes(octets)
