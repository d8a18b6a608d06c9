"""What ping(8) says was answered, of the pings that count."""

from __future__ import annotations

import re

FURTHER = 6
"""Pings at 0.2 s after those that count: ping(8) waits for the last answer no longer than two round trips or 0.2 s."""


def answered(said: str, count: int) -> int:
    """Return how many of the first `count` questions ping(8) says were answered."""
    return len({number for number in map(int, re.findall(r"icmp_seq=(\d+) .*time=", said)) if number <= count})
