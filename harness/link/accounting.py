"""A backend's account of its own work, and when that makes a trial invalid (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from statistics import NormalDist
from typing import Any, Final

# Upper bounds of the lateness histogram's buckets: eight to each doubling, from 1 us to a bit over 1 s.
SUB_BUCKETS: Final = 8
DOUBLINGS: Final = 21
BUCKETS: Final = SUB_BUCKETS * DOUBLINGS

# A trial has a dozen directions and several windows, and a window may hold a hundred frames. Were 2 late ones of 100
# enough, a link that is late once in 300 frames would fail most trials: what counts is that the share is shown to be
# above the bound, with this one-sided certainty.
LATE_SHARE: Final = 0.01
CERTAINTY: Final = 0.99


def bucket_upper_us(index: int) -> float:
    """Return the upper bound in us of histogram bucket `index`; the last one is open."""
    return float(2.0 ** ((index + 1) / SUB_BUCKETS)) if index < BUCKETS - 1 else float("inf")


@dataclass(frozen=True, kw_only=True)
class DirectionCounts:
    """Frames of one direction of one link, counted by the backend; all counts are frames, but for
    `sent_bytes`: those of the frames that were sent, Ethernet headers included.

    `lateness` is a histogram of (actual - scheduled) send time with `BUCKETS` buckets, empty where a backend cannot
    tell.
    """

    received: int = 0
    sent: int = 0
    sent_bytes: int = 0
    lost: int = 0
    queue_drops: int = 0
    oversize_drops: int = 0
    duplicated: int = 0
    corrupted: int = 0
    reordered: int = 0
    ingress_drops: int = 0
    send_errors: int = 0
    lateness: tuple[int, ...] = ()

    def since(self, earlier: DirectionCounts) -> DirectionCounts:
        """Return the counts of the time between `earlier` and this."""
        past = earlier.lateness or (0,) * len(self.lateness)
        numbers = {
            f.name: getattr(self, f.name) - getattr(earlier, f.name) for f in fields(self) if f.name != "lateness"
        }
        return DirectionCounts(**numbers, lateness=tuple(a - b for a, b in zip(self.lateness, past, strict=True)))

    def lateness_us(self, quantile: float) -> float | None:
        """Return the upper bound in us of the bucket that holds the quantile (0 to 1); None without any frame."""
        return histogram_quantile(self.lateness, quantile)


@dataclass(frozen=True, kw_only=True)
class Accounting:
    """A backend's account: `counts[link][way]` with way `up` or `down`, and the declared delay of each in ms.

    `cpu_s` is what the helper used of a processor in `wall_s` seconds, None where the kernel did the work. `kickers`
    are the processes that make the scheduler look at an ordinary user's helper in time: on how many of how many
    processors they run, and why not on all.
    """

    backend: str
    counts: Mapping[str, Mapping[str, DirectionCounts]] = field(default_factory=dict)
    delay_ms: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    cpu_s: float | None = None
    wall_s: float | None = None
    realtime: bool | None = None
    kickers: str | None = None

    def since(self, earlier: Accounting) -> Accounting:
        """Return the account of the time between `earlier` and this."""
        none = DirectionCounts()
        counts = {
            link: {way: now.since(earlier.counts.get(link, {}).get(way, none)) for way, now in ways.items()}
            for link, ways in self.counts.items()
        }
        return Accounting(
            backend=self.backend,
            counts=counts,
            delay_ms=self.delay_ms,
            cpu_s=None if self.cpu_s is None or earlier.cpu_s is None else self.cpu_s - earlier.cpu_s,
            wall_s=None if self.wall_s is None or earlier.wall_s is None else self.wall_s - earlier.wall_s,
            realtime=self.realtime,
            kickers=self.kickers,
        )

    def violation(self) -> str | None:
        """Return why a trial over these links is `invalid`, in words with the figure; None where the links kept their
        promise.

        The bound: at most LATE_SHARE of the frames later than max(1 ms, 5 % of the declared delay), and no frame
        dropped on its way in or out. The share is above the bound when its Wilson interval is (Wilson 1927), and one
        late frame never is enough.
        """
        for link, ways in self.counts.items():
            for way, seen in ways.items():
                if seen.ingress_drops:
                    return f"link {link} {way}: {seen.ingress_drops} frames dropped before {self.backend} saw them"
                if seen.send_errors:
                    return (
                        f"link {link} {way}: {seen.send_errors} frames could not be sent by the {self.backend} backend"
                    )
                bound_us = max(1000.0, 50.0 * self.delay_ms.get(link, {}).get(way, 0.0))
                total = sum(seen.lateness)
                late = sum(
                    count
                    for index, count in enumerate(seen.lateness)
                    if index and bucket_upper_us(index - 1) >= bound_us
                )
                if late > 1 and _at_least(late, total) > LATE_SHARE:
                    p99_us = seen.lateness_us(0.99)
                    return (
                        f"link {link} {way}: {late} of {total} frames over {bound_us:.0f} us late (p99 {p99_us:.0f} us)"
                    )
        return None

    def lateness_us(self, quantile: float) -> float | None:
        """Return the quantile over all links and directions, in us; None without any frame."""
        total = [0] * BUCKETS
        for ways in self.counts.values():
            for seen in ways.values():
                for index, count in enumerate(seen.lateness):
                    total[index] += count
        return histogram_quantile(total, quantile)

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-ready; histograms as percentiles."""
        return {
            "backend": self.backend,
            "cpu_s": self.cpu_s,
            "wall_s": self.wall_s,
            "realtime": self.realtime,
            "kickers": self.kickers,
            "links": {
                link: {
                    way: {f.name: getattr(seen, f.name) for f in fields(seen) if f.name != "lateness"}
                    | {f"lateness_p{100 * q:g}_us": seen.lateness_us(q) for q in (0.5, 0.95, 0.99)}
                    for way, seen in ways.items()
                }
                for link, ways in self.counts.items()
            },
        }


def _at_least(count: int, total: int) -> float:
    """Return the lower end of the one-sided Wilson interval of a share, at CERTAINTY."""
    z = NormalDist().inv_cdf(CERTAINTY)
    share = count / total
    spread = z * math.sqrt(share * (1 - share) / total + z**2 / (4 * total**2))
    return (share + z**2 / (2 * total) - spread) / (1 + z**2 / total)


def histogram_quantile(histogram: list[int] | tuple[int, ...], quantile: float) -> float | None:
    """Return the upper bound in us of the bucket that holds the quantile (0 to 1); None for an empty histogram."""
    total = sum(histogram)
    if total == 0:
        return None
    seen = 0
    for index, count in enumerate(histogram):
        seen += count
        if seen >= quantile * total:
            return bucket_upper_us(index)
    raise AssertionError("a histogram's counts add up to its total")
