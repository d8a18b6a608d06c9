"""Pings of unpredictable sizes: how they are drawn, what is kept of them, how the record is written and read.

An overlay sends packets of its own, some of which are as large as a ping of any size that is fixed. So every ping has
a size of its own, drawn by the trial's seed: what carries all of them, each in its time, carries ours. Pure.
"""

from __future__ import annotations

import csv
import io
import random
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# IP and ICMP headers of an echo request or reply, by IP version.
HEADERS_BYTES = {4: 28, 6: 48}
# Larger than handshakes and keepalives, and small enough for a tunnel over a path of 1,280 bytes.
SMALLEST_BYTES, LARGEST_BYTES = 300, 1200
# Pings that may be under way together differ by more than any padding; the range has room for the neighbours of each.
_APART_BYTES, _NEIGHBOURS = 34, 10


@dataclass(frozen=True)
class Ping:
    """An echo request of `ip_bytes`, the inner IP packet. Unix times in seconds; its first answer counts."""

    seq: int
    ip_bytes: int
    sent_s: float
    answered_s: float | None = None

    @property
    def rtt_s(self) -> float | None:
        """The round-trip time; None without an answer."""
        return None if self.answered_s is None else self.answered_s - self.sent_s


def sizes(rng: random.Random, smallest: int = SMALLEST_BYTES, largest: int = LARGEST_BYTES) -> Iterator[int]:
    """Yield IP packet sizes in bytes without end, each at some distance from those before it."""
    before: deque[int] = deque(maxlen=_NEIGHBOURS)
    while True:
        drawn = rng.randint(smallest, largest)
        if all(abs(drawn - other) >= _APART_BYTES for other in before):
            before.append(drawn)
            yield drawn


def to_csv(pings: Iterable[Ping]) -> str:
    """Return one line per ping; an empty `answered_s` is a ping without an answer."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["seq", "ip_bytes", "sent_s", "answered_s"])
    for one in pings:
        answered = "" if one.answered_s is None else f"{one.answered_s:.9f}"
        writer.writerow([one.seq, one.ip_bytes, f"{one.sent_s:.9f}", answered])
    return out.getvalue()


def from_csv(text: str) -> list[Ping]:
    """Parse what `to_csv` wrote."""
    return [
        Ping(
            int(row["seq"]),
            int(row["ip_bytes"]),
            float(row["sent_s"]),
            float(row["answered_s"]) if row["answered_s"] else None,
        )
        for row in csv.DictReader(io.StringIO(text))
    ]
