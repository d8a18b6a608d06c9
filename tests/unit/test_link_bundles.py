"""The helper's cutting and joining of bundles against scapy, which makes the segments its own way."""

from __future__ import annotations

import struct
import subprocess
from dataclasses import dataclass
from ipaddress import IPv6Address
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6, IPv6ExtHdrDestOpt
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Packet, Raw

from harness.link.helper import helper_argv

# struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset.
HEADER = struct.Struct("=BBHHHH")
NEEDS_CSUM, ECN = 1, 0x80
GSO_TYPES = {"tcp4": 1, "tcp6": 4, "udp4": 5, "udp6": 5}


@dataclass(frozen=True)
class Bundle:
    """A bundle as a node hands it over: the first segment's headers, all payload, `size` to be in each segment."""

    head: Packet
    kind: str
    size: int
    payload: bytes

    @property
    def tcp(self) -> bool:
        return self.kind.startswith("tcp")

    def packet(self, first: int, count: int) -> Packet:
        """Segments from `first` on as one packet, as the node's own stack would have made it."""
        data = self.payload[first * self.size : (first + count) * self.size]
        packet = self.head.copy()
        last = (first + count) * self.size >= len(self.payload)
        if IP in packet:
            packet[IP].id = (packet[IP].id + first) & 0xFFFF
        if self.tcp:
            packet[TCP].seq = (packet[TCP].seq + first * self.size) & 0xFFFFFFFF
            flags = set(str(packet[TCP].flags))
            packet[TCP].flags = "".join(flags - ({"C"} if first else set()) - (set() if last else {"F", "P"}))
        return packet / Raw(data)

    def offload(self, *, segments: int) -> bytes:
        """Return the virtio header of so many segments."""
        transport = TCP if self.tcp else UDP
        start = len(self.head) - len(self.head[transport])
        many = segments > 1
        kind = GSO_TYPES[self.kind] | (ECN if self.tcp and "C" in str(self.head[TCP].flags) else 0)
        return HEADER.pack(
            NEEDS_CSUM,
            kind if many else 0,
            len(self.head) if many else 0,
            self.size if many else 0,
            start,
            16 if self.tcp else 6,
        )

    @property
    def segments(self) -> int:
        return -(-len(self.payload) // self.size)


def half_made(packet: Packet) -> bytes:
    """Return the packet with the pseudo-header's sum in place of its checksum."""
    done = Ether(bytes(packet))
    network = done[IP] if IP in done else done[IPv6]
    transport = done[TCP] if TCP in done else done[UDP]
    octets = len(bytes(transport))
    number = 6 if TCP in done else 17
    ends = (bytes(network)[12:20] if IP in done else bytes(network)[8:40]) + struct.pack("!II", octets, number)
    total = sum(struct.unpack(f"!{len(ends) // 2}H", ends))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    at = len(bytes(done)) - octets + (16 if TCP in done else 6)
    return bytes(done)[:at] + struct.pack("!H", total) + bytes(done)[at + 2 :]


def through_helper(bundle: Bundle, first: int, count: int) -> tuple[list[bytes], list[tuple[bytes, bytes]]]:
    """(finished segments, what is handed over of segments `first` to `first + count - 1`: header and frame)."""
    argv = helper_argv()
    if argv is None:
        pytest.skip("the helper was not built: no C compiler")
    whole = half_made(bundle.packet(0, bundle.segments))
    line = f"{bundle.offload(segments=2).hex()} {whole.hex()} {first} {count}\n"
    done = subprocess.run([*argv[:1], "replay-bundles"], input=line, capture_output=True, text=True, check=True)
    head, *lines = done.stdout.splitlines()
    rest = [line.split() for line in lines[int(head) : -1]]
    segments = [bytes.fromhex(line) for line in lines[: int(head)]]
    return segments, [(bytes.fromhex(header), bytes.fromhex(frame)) for header, frame in rest]


def heads() -> Any:
    address = st.integers(1, 2**32 - 1)
    flags = st.sampled_from(["A", "PA", "FPA", "CA", "CPA", "EPA"])

    @st.composite
    def make(draw: Any) -> tuple[str, Packet]:
        kind = draw(st.sampled_from(sorted(GSO_TYPES)))
        ether = Ether(dst="02:00:00:00:00:0b", src="02:00:00:00:00:0a")
        if draw(st.booleans()) and kind == "tcp4":
            ether /= Dot1Q(vlan=7)
        if kind.endswith("4"):
            source, target = (".".join(map(str, draw(address).to_bytes(4, "big"))) for _ in "ab")
            network = IP(
                src=source, dst=target, id=draw(st.integers(0, 65535)), flags="DF", tos=draw(st.integers(0, 3))
            )
        else:
            network = IPv6(src=str(IPv6Address(draw(address) << 77)), dst="2001:db8::2")
            if draw(st.booleans()):
                network /= IPv6ExtHdrDestOpt()
        if kind.startswith("udp"):
            return kind, ether / network / UDP(sport=51820, dport=draw(st.integers(1, 65535)))
        options = draw(st.sampled_from([[], [("NOP", None), ("NOP", None), ("Timestamp", (7, 8))]]))
        sequence = draw(st.integers(0, 2**32 - 1))
        return kind, ether / network / TCP(sport=5001, dport=5201, seq=sequence, flags=draw(flags), options=options)

    return make()


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    head=heads(),
    size=st.integers(1, 1400),
    segments=st.integers(2, 44),
    short=st.integers(0, 1399),
    first=st.integers(0, 43),
    count=st.integers(1, 44),
    seed=st.integers(0, 2**32),
)
def test_segments_are_those_that_a_network_card_would_send(
    *, head: tuple[str, Packet], size: int, segments: int, short: int, first: int, count: int, seed: int
) -> None:
    length = segments * size - short % size
    payload = (seed.to_bytes(5, "big") * (length // 5 + 1))[:length]
    bundle = Bundle(head[1], head[0], size, payload)
    first %= segments
    count = min(count, segments - first)
    cut, handed_over = through_helper(bundle, first, count)
    expected = [bytes(bundle.packet(number, 1)) for number in range(segments)]
    assert cut == expected
    if Dot1Q in head[1]:
        one_by_one = [(bundle.offload(segments=1), half_made(bundle.packet(first + n, 1))) for n in range(count)]
        assert handed_over == one_by_one
    else:
        joined = bundle.packet(first, count)
        assert handed_over == [(bundle.offload(segments=count), half_made(joined))]


def test_a_bundle_inside_a_tunnel_is_refused() -> None:
    inner = IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=1, dport=2)
    head = Ether(dst="02:00:00:00:00:0b", src="02:00:00:00:00:0a") / IP(src="1.1.1.1", dst="2.2.2.2", proto=4) / inner
    whole = bytes(head / Raw(bytes(3000)))
    offload = HEADER.pack(NEEDS_CSUM, GSO_TYPES["tcp4"], 0, 1000, 54, 16)
    argv = helper_argv()
    if argv is None:
        pytest.skip("the helper was not built: no C compiler")
    line = f"{offload.hex()} {whole.hex()} 0 1\n"
    done = subprocess.run([*argv[:1], "replay-bundles"], input=line, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "0"
