"""Timestamps of handshake initiations: TAI64N, which a responder takes only if they grow (WireGuard paper, 5.4.2)."""

from __future__ import annotations

import math
import struct

_TAI64N = struct.Struct(">QI")
_TAI64_EPOCH = 0x400000000000000A


def tai64n(unix_s: float) -> bytes:
    """Return a time as TAI64N, 12 bytes, so that later times compare greater."""
    whole = math.floor(unix_s)
    return _TAI64N.pack(_TAI64_EPOCH + whole, int((unix_s - whole) * 1e9))


def later(stamp: bytes, last: bytes) -> bytes:
    """Return a timestamp, or the one after `last` (empty: none) where it would not grow."""
    if stamp > last:
        return stamp
    seconds, nanos = _TAI64N.unpack(last)
    return _TAI64N.pack(seconds + (nanos + 1) // 10**9, (nanos + 1) % 10**9)
