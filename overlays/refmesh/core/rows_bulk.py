"""Chunks of the bulk framing as rows: `bulk.seal` and `bulk.rebuild`, by numpy."""

from __future__ import annotations

import numpy as np

from overlays.refmesh.core import bulk
from overlays.refmesh.core.rows import Bytes, Opened

_COUNT = np.arange(128, dtype=np.uint32)


def fill(packet: memoryview, tcp: int, data: int, size: int, rows: Bytes) -> int:
    """Write the chunks of a large packet to `rows`, which has one for each; return the length of the last.

    TCP begins at `tcp` (20: IPv4, 40: IPv6), its data at `data`; a chunk has a slice of `size` octets.
    """
    source = np.frombuffer(packet, np.uint8)
    count, total = len(rows), len(packet)
    whole, rest = divmod(total - data, size)
    begin = bulk.META.size + data
    offsets = (_COUNT[:count] * np.uint32(size)).astype(">u4")
    offsets[-1] |= bulk.LAST
    rows[:, :4] = offsets.view(np.uint8).reshape(count, 4)
    rows[:, 4 : bulk.META.size] = np.frombuffer(bulk.SHAPE.pack(data, tcp, size), np.uint8)
    rows[:, bulk.META.size : begin] = source[:data]
    rows[:whole, begin:] = source[data : data + whole * size].reshape(whole, size)
    if rest:
        rows[whole, begin : begin + rest] = source[total - rest :]
    return begin + (rest or size)


def rebuild(opened: Opened) -> bulk.Rebuilt | None:
    """Return the large packet, or the part of it, that rows are; None when they are not consecutive chunks of one."""
    rows = opened.plain
    if rows.shape[1] < bulk.META.size + 40:
        return None
    mark, length, start, size = bulk.META.unpack_from(rows[0, : bulk.META.size].tobytes())
    data = bulk.META.size + length
    if start not in (20, 40) or not start + 20 <= length <= start + 60 or data + size != rows.shape[1]:
        return None
    marks = rows[:, :4].copy().view(">u4").reshape(-1).astype(np.uint32)
    complete = bool(marks[-1] & bulk.LAST)
    marks[-1] &= ~bulk.LAST & 0xFFFFFFFF
    expected = _COUNT[: len(rows)] * np.uint32(size) + np.uint32(mark)
    if opened.last <= data or (marks != expected).any() or (rows[1:, 4:data] != rows[0, 4:data]).any():
        return None
    content = np.ascontiguousarray(rows[:, data:]).reshape(-1)
    used = content.size - (rows.shape[1] - opened.last)
    head = bytearray(rows[0, bulk.META.size : data].tobytes())
    return bulk.large(head, [content.data[:used]], len(rows), start=start, size=size, offset=mark, complete=complete)
