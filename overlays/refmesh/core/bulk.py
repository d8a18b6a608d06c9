"""The bulk framing between two refmesh nodes: large TCP packets go without ever being cut into real ones.

The kernel hands over up to 64 KB of a TCP flow as one packet. Plain WireGuard must make segments of it, each with its
own headers and checksum. Here a *chunk* carries the large packet's header as it is and a slice of its data with the
slice's offset, so the receiver rebuilds a large packet from any run of consecutive chunks: one lost costs one
segment. The tag of the AEAD stands for the TCP checksum. Chunks share counter and replay window with transport
messages but have keys of their own, derived from the session's, for AES-256-GCM, which processors with AES instructions
do in half the time.

Layout: type 7 (u8), 3 zero bytes, receiver index (u32), counter (u64), then sealed, all big-endian: offset of the slice
(u32; the top bit marks the last slice), length of the header (u8), offset of TCP in it (u8: 20 or 40), slice length
(u16), the header, the slice. Nodes say in PING and PONG that they read it (`control.READS_BULK`).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cryptography.exceptions import InvalidTag

from overlays.refmesh.core import offload
from overlays.refmesh.core.keypair import REJECT_AFTER_MESSAGES, Keypair
from overlays.refmesh.wire import messages

META = struct.Struct(">IBBH")
_OFFSET = struct.Struct(">I")
SHAPE = struct.Struct(">BBH")
LAST = 1 << 31
_FOUR_ZEROS = bytes(4)
_PSH_FIN = 0x09
MIN_LEN = messages.TRANSPORT_HEADER_LEN + META.size + 40 + messages.TAG_LEN


class Rebuilt(NamedTuple):
    """A large packet for `writev`, and its header for those who check it."""

    header: bytes
    buffers: list[bytes | memoryview]
    length: int


def sealable(gso_type: int, start: int, packet: bytes | memoryview) -> int:
    """Return the length of the headers of a large TCP packet; 0 when this is none that chunks can carry."""
    if gso_type & 0x7F == offload.GSO_TCPV4:
        wanted = 20
    elif gso_type & 0x7F == offload.GSO_TCPV6:
        wanted = 40
    else:
        return 0
    if start != wanted or len(packet) < start + 20:
        return 0
    data = start + (packet[start + 12] >> 4) * 4
    return data if start + 20 <= data < len(packet) else 0


def seal(keypair: Keypair, packet: memoryview, start: int, data: int, size: int) -> list[bytes]:
    """Return the chunks of a large packet: TCP begins at `start`, its data at `data`, a slice has `size` octets."""
    encrypt, pack, index = keypair.bulk[0].encrypt, messages.TRANSPORT_HEAD.pack, keypair.remote_index
    pack_offset, join = _OFFSET.pack, b"".join
    same = SHAPE.pack(data, start, size) + packet[:data]
    counter, total = keypair.counter, len(packet)
    chunks = []
    for position in range(data, total, size):
        end = position + size
        offset = position - data if end < total else position - data | LAST
        head = pack(messages.BULK, index, counter)
        counter += 1
        plain = join((pack_offset(offset), same, packet[position:end]))
        chunks.append(head + encrypt(_FOUR_ZEROS + head[8:], plain, None))
    keypair.counter = counter
    return chunks


def unseal(keypair: Keypair, datagrams: Sequence[bytes | memoryview]) -> list[bytes]:
    """Return the contents of those chunks that authenticate and are fresh, in the order of arrival."""
    decrypt, unpack = keypair.bulk[1].decrypt, messages.TRANSPORT_HEAD.unpack_from
    window = keypair.window
    plains = []
    counters = []
    for datagram in datagrams:
        if len(datagram) < MIN_LEN:
            continue
        counter = unpack(datagram)[2]
        if counter >= REJECT_AFTER_MESSAGES:
            continue
        try:
            plains.append(decrypt(_FOUR_ZEROS + datagram[8:16], datagram[16:], None))
        except InvalidTag:
            continue
        counters.append(counter)
    if not counters:
        return []
    first, count = counters[0], len(counters)
    # The usual case is marked in one step. Every counter is looked at: [3, 0, 5] begins and ends as a run does.
    if counters == list(range(first, first + count)) and window.accept_run(first, count):
        return plains
    return [plain for plain, counter in zip(plains, counters, strict=True) if window.accept(counter)]


def rebuild(plains: Sequence[bytes]) -> Iterator[Rebuilt]:
    """Large packets out of runs of consecutive chunks; chunks that make no sense are dropped."""
    count, first = len(plains), 0
    while first < count:
        plain = plains[first]
        if len(plain) < META.size:
            first += 1
            continue
        mark, length, start, size = META.unpack_from(plain)
        data = META.size + length
        last = first + 1
        if start not in (20, 40) or not start + 20 <= length <= start + 60 or not _fits(len(plain) - data, size, mark):
            first = last
            continue
        same, offset = plain[4:data], mark & ~LAST
        expected = offset
        while last < count and not mark & LAST:
            following = plains[last]
            if len(following) < META.size:
                mark = 0
                break
            expected += size
            mark = _OFFSET.unpack_from(following)[0]
            if mark & ~LAST != expected or following[4:data] != same or not _fits(len(following) - data, size, mark):
                mark = 0
                break
            last += 1
        slices = [chunk[data:] for chunk in plains[first:last]]
        complete = bool(_OFFSET.unpack_from(plains[last - 1])[0] & LAST)
        rebuilt = large(
            bytearray(same[4:]), slices, len(slices), start=start, size=size, offset=offset, complete=complete
        )
        if rebuilt is not None:
            yield rebuilt
        first = last


def _fits(slice_length: int, size: int, mark: int) -> bool:
    """Whether a slice is as long as it should be: as the others, and only the last one perhaps shorter."""
    return slice_length == size > 0 or (0 < slice_length < size and bool(mark & LAST))


def large(
    head: bytearray,
    content: Sequence[bytes | memoryview],
    slices: int,
    *,
    start: int,
    size: int,
    offset: int,
    complete: bool,
) -> Rebuilt | None:
    """Return the large packet of `slices` consecutive slices of `size` octets from `offset` on; None: no sense in it.

    `head` is the header of all, TCP beginning at `start`; `complete`: the last slice is among them.
    """
    v4 = start == 20
    if head[0] >> 4 != (4 if v4 else 6) or head[9 if v4 else 6] != offload.TCP or (v4 and head[0] != 0x45):
        return None
    if start + (head[start + 12] >> 4) * 4 != len(head):
        return None
    total = len(head) + sum(map(len, content))
    if total > offload.MAX_MERGED:
        return None
    if offset:
        seq = int.from_bytes(head[start + 4 : start + 8], "big") + offset
        head[start + 4 : start + 8] = (seq & 0xFFFFFFFF).to_bytes(4, "big")
    if not complete:
        head[start + 13] &= ~_PSH_FIN
    offload.prepare(head, start, total)
    kind = (offload.GSO_TCPV4 if v4 else offload.GSO_TCPV6) if slices > 1 else offload.GSO_NONE
    header = offload.HEADER.pack(offload.NEEDS_CSUM, kind, len(head), size if kind else 0, start, 16)
    own = bytes(head)
    return Rebuilt(own, [header, own, *content], total)
