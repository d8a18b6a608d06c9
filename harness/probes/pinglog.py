"""What the log of `ping -D` says: which pings were answered, and when. Pure."""

from __future__ import annotations

import re

from harness.probes.answers import Asked

# The stamp is that of the answer; a ping that was answered before is no new one.
_REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .*?icmp_seq=\d+ .*?time=([\d.]+) ms(?! \(DUP!\))", re.MULTILINE)


def answered_pings(log: str) -> list[Asked]:
    """Return the pings that were answered, in the order of their answers, each with its first."""
    return [Asked(float(at_s) - float(trip_ms) / 1000, float(at_s)) for at_s, trip_ms in _REPLY.findall(log)]
