"""What merging must never do: lose ECN or TOS, make a bad checksum good, throw a batch away for one forged datagram."""

from __future__ import annotations

import random
import struct

import pytest

from overlays.refmesh.core import large, offload
from overlays.refmesh.core.keypair import Keypair
from overlays.refmesh.core.noise import TransportKeys
from overlays.refmesh.simulation.world import NODE_PORT, World, ip_packet
from overlays.refmesh.wire import messages

SIZE, COUNT = 1000, 8


def segments(version: int) -> list[bytes]:
    """TCP segments of one flow, in order, with right checksums."""
    payload = random.Random(1).randbytes(SIZE * COUNT)
    tcp = struct.pack("!HHIIBBHHH", 1000, 2000, 1, 77, 5 << 4, 0x10, 500, 0, 0)
    if version == 6:
        head = struct.pack("!IHBB", 6 << 28, len(tcp) + len(payload), 6, 64) + bytes(range(32))
    else:
        length = 20 + len(tcp) + len(payload)
        head = struct.pack("!BBHHHBBH", 0x45, 0, length, 7, 0x4000, 64, 6, 0) + bytes((10, 0, 0, 1, 10, 0, 0, 2))
    start = len(head)
    kind = offload.GSO_TCPV4 if version == 4 else offload.GSO_TCPV6
    return offload.split(offload.HEADER.pack(1, kind, start + 20, SIZE, start, 16), head + tcp + payload)


def remade(packet: bytes) -> bytes:
    """Return the packet with a right IPv4 header checksum, after a field of the header was changed."""
    if packet[0] >> 4 == 6:
        return packet
    head = packet[:10] + b"\0\0" + packet[12:20]
    return head[:10] + offload.finish_sum(offload.ones_sum(head)).to_bytes(2, "big") + packet[12:]


def with_octet(packet: bytes, position: int, value: int) -> bytes:
    return remade(packet[:position] + bytes((value,)) + packet[position + 1 :])


def merged(batch: list[bytes]) -> list[bytes]:
    """Return what the kernel is given, without the virtio_net_hdr, by the general way."""
    return [b"".join(buffers)[offload.HEADER.size :] for buffers in offload.merge(batch)]


def rows_join(batch: list[bytes]) -> bool:
    """Whether the way by the array makes one packet of all."""
    one, other = bytes(32), bytes(range(32))
    sender = Keypair(TransportKeys(one, other, 1, 2, initiator=True), 0.0)
    receiver = Keypair(TransportKeys(other, one, 2, 1, initiator=False), 0.0)
    sealed = sender.seal_many(batch)
    opened = large.unseal(receiver, memoryview(b"".join(sealed)), len(sealed[0]), chunks=False, prefix=0)
    assert opened is not None
    return large.rebuild(opened, chunks=False) is not None


@pytest.mark.parametrize("version", [4, 6])
def test_an_undisturbed_run_is_one_packet(version: int) -> None:
    batch = segments(version)
    assert len(merged(batch)) == 1
    assert rows_join(batch)


FIELDS = {
    "IPv4 congestion experienced": (4, 1, 0x03),
    "IPv4 TOS": (4, 1, 0xB8),
    "IPv4 TTL": (4, 8, 63),
    "IPv4 don't fragment": (4, 6, 0x00),
    "IPv6 traffic class": (6, 1, 0x30),
    "IPv6 flow label": (6, 3, 0x05),
    "IPv6 hop limit": (6, 7, 63),
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_packet_with_another_mark_stays_itself(field: str) -> None:
    version, position, value = FIELDS[field]
    batch = segments(version)
    batch[4] = with_octet(batch[4], position, value)
    given = merged(batch)
    assert batch[4] in given
    assert len(given) == 3
    assert not rows_join(batch)


@pytest.mark.parametrize("version", [4, 6])
@pytest.mark.parametrize("place", [0, 4, COUNT - 1])
def test_a_bad_tcp_checksum_reaches_the_kernel_as_it_came(version: int, place: int) -> None:
    batch = segments(version)
    batch[place] = batch[place][:-1] + bytes((batch[place][-1] ^ 1,))
    assert batch[place] in merged(batch)
    assert not rows_join(batch)


def test_a_bad_ip_checksum_reaches_the_kernel_as_it_came() -> None:
    batch = segments(4)
    batch[3] = batch[3][:11] + bytes((batch[3][11] ^ 1,)) + batch[3][12:]
    assert batch[3] in merged(batch)
    assert not rows_join(batch)


def test_a_single_packet_is_not_vouched_for() -> None:
    """With VIRTIO_NET_HDR_F_DATA_VALID the kernel would not look at the checksum any more."""
    (buffers,) = offload.merge(segments(4)[:1])
    assert not buffers[0][0] & (offload.DATA_VALID | offload.NEEDS_CSUM)


@pytest.mark.parametrize("octets", [1001, 1002, 1004])
def test_who_does_not_pad_is_taken_packet_by_packet(octets: int) -> None:
    one, other = bytes(32), bytes(range(32))
    sender = Keypair(TransportKeys(one, other, 1, 2, initiator=True), 0.0)
    receiver = Keypair(TransportKeys(other, one, 2, 1, initiator=False), 0.0)
    sealed = []
    for number, segment in enumerate(segments(4)):
        head = messages.TRANSPORT_HEAD.pack(messages.TRANSPORT, 2, number)
        sealed.append(head + sender.encrypt(bytes(4) + head[8:], (segment + bytes(16))[:octets], None))
    opened = large.unseal(receiver, memoryview(b"".join(sealed)), len(sealed[0]), chunks=False, prefix=0)
    assert opened is not None
    assert large.rebuild(opened, chunks=False) is None


FORGERIES = {
    "no session's index": b"\x04\0\0\0\x63\0\0\0",
    "not even a type": b"\x99\x99\x99\x99\x63\0\0\0",
    "an initiation": b"\x01\0\0\0\x63\0\0\0",
    "a chunk": b"\x07\0\0\0\x63\0\0\0",
    "a relay header": b"\x06\0\0\0\x63\0\0\0",
}


@pytest.mark.parametrize("place", [0, 3, COUNT])
@pytest.mark.parametrize("forgery", [*FORGERIES, "the session's own index"])
@pytest.mark.parametrize("mode", ["mesh", "relay", "hub"])
def test_one_forged_datagram_does_not_take_its_batch_with_it(mode: str, forgery: str, place: int) -> None:
    """The kernel joins what comes from one address, and anybody may forge that."""
    world = World({"a": None, "b": None}, mode=mode, hub=mode == "hub")
    world.start_all()
    world.run(3.0)
    ends = [world.overlay_address(name) for name in "ab"]
    inner = [ip_packet(*ends, bytes((number,)) * 1000) for number in range(COUNT)]
    a, b = world.nodes["a"], world.nodes["b"]
    peer = a.servers.links[0].peer if mode == "hub" else next(iter(a.peers.by_key.values()))
    assert peer.path is not None
    assert peer.session.current is not None
    batch = peer.session.current.seal_many(inner)
    head = FORGERIES.get(forgery, batch[0][:8])
    batch.insert(place, head + bytes(len(batch[0]) - 8))
    source = (world.address["a"], NODE_PORT)
    if mode == "hub":
        server = world.servers["s0"]
        assert server is not None
        server.receive_run(batch, source, world.now)
        assert len(server.outlet.datagrams) == COUNT
        return
    if mode == "relay":
        # What the relay puts before each: our number there.
        number = next(iter(b.peers.by_key.values())).numbers[0]
        batch = [messages.RELAY_HEAD.pack(messages.RELAY, number) + message for message in batch]
        source = b.servers.links[0].endpoint
    b.ingress.receive_run(batch, source, world.now)
    assert b.plane.to_tun == inner


def test_messages_under_old_and_new_keys_may_come_together() -> None:
    world = World({"a": None, "b": None})
    world.start_all()
    world.run(3.0)
    a, b = world.nodes["a"], world.nodes["b"]
    peer = next(iter(a.peers.by_key.values()))
    inner = [ip_packet(*(world.overlay_address(name) for name in "ab"), bytes(1000))] * COUNT
    old = peer.session.current
    peer.session.want(world.now)
    a.outbox.due(peer, world.now)
    world._settle_node("a")
    world.run(1.0)
    new = peer.session.current
    assert old is not None
    assert new is not None
    assert new is not old
    mixed = [message for two in zip(old.seal_many(inner), new.seal_many(inner), strict=True) for message in two]
    b.ingress.receive_run(mixed, (world.address["a"], NODE_PORT), world.now)
    assert len(b.plane.to_tun) == 2 * COUNT
