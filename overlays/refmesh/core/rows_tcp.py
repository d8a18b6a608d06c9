"""Cutting the kernel's large TCP packets to rows and joining rows again: `offload.split` and `offload.merge`, by numpy.

A checksum is the same sum whatever the byte order is (RFC 1071, section 2 (B)), so words are added as the processor
reads them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from overlays.refmesh.core import offload
from overlays.refmesh.core.bulk import Rebuilt
from overlays.refmesh.core.offload import GSO_TCPV4, GSO_TCPV6, MAX_MERGED, NEEDS_CSUM, TCP
from overlays.refmesh.core.rows import Bytes, Opened

_ACK, _PSH, _FIN = 0x10, 0x08, 0x01
_COUNT = np.arange(128, dtype=np.uint32)
_Words = np.ndarray[Any, np.dtype[np.uint32]]


def padded(length: int) -> int:
    """Return a length rounded up to 16, as WireGuard pads packets."""
    return (length + 15) & ~15


def _checks(sums: _Words) -> _Words:
    """Checksum fields, in the processor's order, for sums of words; never 0, as `offload.finish_sum`."""
    folded = (sums & 0xFFFF) + (sums >> 16)
    folded = (folded & 0xFFFF) + (folded >> 16)
    checks: _Words = 0xFFFF - folded
    checks[checks == 0] = 0xFFFF
    return checks


def cut(packet: memoryview, tcp: int, data: int, size: int, rows: Bytes) -> int:
    """Write the segments of a large packet to `rows`, which has one for each; return the length of the last.

    TCP begins at `tcp` (20: IPv4, 40: IPv6), its data at `data`; a segment has `size` octets of data.
    """
    source = np.frombuffer(packet, np.uint8)
    count, total = len(rows), len(packet)
    whole, rest = divmod(total - data, size)
    end = data + size
    rows[:, :data] = source[:data]
    rows[:whole, data:end] = source[data : data + whole * size].reshape(whole, size)
    rows[:, end:] = 0
    if rest:
        rows[whole, data : data + rest] = source[total - rest :]
        rows[whole, data + rest :] = 0
    last = data + (rest or size)
    words, native = rows.view(">u2"), rows.view(np.uint16)
    if tcp == 20:
        words[:, 1] = end
        words[-1, 1] = last
        words[:, 2] = (_COUNT[:count] + int(words[0, 2])) & 0xFFFF
        words[:, 5] = 0
        native[:, 5] = _checks(native[:, :10].sum(axis=1, dtype=np.uint32))
    else:
        words[:, 2] = end - 40
        words[-1, 2] = last - 40
    longs = rows.view(">u4")
    longs[:, tcp // 4 + 1] = _COUNT[:count] * np.uint32(size) + np.uint32(longs[0, tcp // 4 + 1])
    rows[:-1, tcp + 13] &= ~(_PSH | _FIN) & 0xFF
    field = (tcp + 16) // 2
    addresses = 6 if tcp == 20 else 4
    pseudo = native[0, addresses : tcp // 2].sum(dtype=np.uint32) + np.uint32(TCP << 8)
    lengths = np.full(count, _swapped(end - tcp), np.uint32)
    lengths[-1] = _swapped(last - tcp)
    words[:, field] = 0
    native[:, field] = _checks(native[:, tcp // 2 :].sum(axis=1, dtype=np.uint32) + lengths + pseudo)
    return last


def _swapped(value: int) -> int:
    return (value & 0xFF) << 8 | value >> 8


def join(opened: Opened) -> Rebuilt | None:
    """Rows as one large packet; None when they are no run of a flow."""
    rows, count = opened.plain, len(opened.plain)
    if rows.shape[1] & 15:
        return None  # whoever sends it does not pad, as WireGuard's own do
    shape = _shape(rows[0, :100].tobytes(), rows.shape[1])
    if shape is None:
        return None
    tcp, data, end = shape
    size = end - data
    last = _last_length(rows, tcp) if opened.last >= data else 0
    if not data < last <= min(end, opened.last) or last + 15 < opened.last:
        return None
    total = end * (count - 1) + last - data * (count - 1)
    if total > MAX_MERGED or not _intact(rows, tcp, end, last):
        return None
    heads = rows[:, :data]
    differs = (heads[1:] ^ heads[0]) & _mask(tcp, data)
    differs[-1, tcp + 13] &= ~_PSH & 0xFF
    length_at = 2 if tcp == 20 else 4
    differs[-1, length_at : length_at + 2] = 0
    sequence = rows[:, tcp + 4 : tcp + 8].copy().view(">u4").reshape(-1).astype(np.uint32)
    if differs.any() or (sequence != _COUNT[:count] * np.uint32(size) + sequence[0]).any():
        return None
    head = bytearray(heads[0].tobytes())
    head[tcp + 13] = int(rows[-1, tcp + 13])
    offload.prepare(head, tcp, total)
    own = bytes(head)
    kind = GSO_TCPV4 if tcp == 20 else GSO_TCPV6
    # The rows' slices next to each other: a copy costs less than a buffer for each.
    content = np.ascontiguousarray(rows[:, data:end]).reshape(-1)
    header = offload.HEADER.pack(NEEDS_CSUM, kind, data, size, tcp, 16)
    return Rebuilt(own, [header, own, content.data[: total - data]], total)


def _intact(rows: Bytes, tcp: int, end: int, last: int) -> bool:
    """Whether the checksums of all rows are right, as `offload.intact` says it of one: 2^32 = 1 modulo 65535, too."""
    rest = rows[-1, tcp:last].tobytes()
    longs = rows[:-1].view(np.uint32)
    sums = longs[:, tcp // 4 : end // 4].sum(axis=1, dtype=np.uint64)
    for octet in range(end & ~3, end):
        sums += rows[:-1, octet].astype(np.uint64) << np.uint64(8 * (octet & 1))
    start = 12 if tcp == 20 else 8
    pseudo = rows[0, start:tcp].view(np.uint32).sum(dtype=np.uint64) + np.uint64(TCP << 8)
    if ((sums + pseudo + np.uint64(_swapped(end - tcp))) % 0xFFFF).any():
        return False
    if (offload.ones_sum(rows[0, start:tcp].tobytes()) + TCP + last - tcp + offload.ones_sum(rest)) % 0xFFFF:
        return False
    # The addresses are those of the first row: the headers are compared as well.
    return tcp != 20 or not (rows[:, :20].copy().view(np.uint32).sum(axis=1, dtype=np.uint64) % 0xFFFF).any()


def _shape(head: bytes, room: int) -> tuple[int, int, int] | None:
    """Where TCP and its data begin and the packet ends, when a row is a TCP segment that may be first of a run."""
    if head[0] == 0x45 and len(head) >= 40 and head[9] == TCP and not (head[6] << 8 | head[7]) & 0x3FFF:
        tcp, end = 20, head[2] << 8 | head[3]
    elif head[0] >> 4 == 6 and len(head) >= 60 and head[6] == TCP:
        tcp, end = 40, (head[4] << 8 | head[5]) + 40
    else:
        return None
    data = tcp + (head[tcp + 12] >> 4) * 4
    if head[tcp + 13] != _ACK or not tcp + 20 <= data < end <= room or end + 15 < room or data > len(head):
        return None
    return tcp, data, end


def _last_length(rows: Bytes, tcp: int) -> int:
    high, low = rows[-1, (2 if tcp == 20 else 4) :][:2].tolist()
    return int(high << 8 | low) + (0 if tcp == 20 else 40)


_MASKS: dict[tuple[int, int], Bytes] = {}


def _mask(tcp: int, data: int) -> Bytes:
    """0 for the octets of a header in which segments of one run differ: identification, checksums, sequence number."""
    mask = _MASKS.get((tcp, data))
    if mask is None:
        mask = np.full(data, 0xFF, np.uint8)
        if tcp == 20:
            mask[4:6] = mask[10:12] = 0
        mask[tcp + 4 : tcp + 8] = mask[tcp + 16 : tcp + 18] = 0
        _MASKS[tcp, data] = mask
    return mask
