"""Declared against observed: what a link did to a stream, judged by the model and by statistics (pure)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from scipy import stats

from harness.calibration.link_cases import Case
from harness.calibration.link_traffic import Seen
from harness.link.settings import settings_of, stream_seeds
from harness.link.spec import LinkDirection
from harness.link.traces import parse_trace, rate_of_trace_mbit
from harness.model.link import Direction
from harness.model.link_profile import BernoulliLoss, GilbertElliottLoss

# Shares are judged at this error rate: some forty of them must not raise a false alarm in a hundred runs.
ALPHA: Final = 1e-4
CABLE: Final = "a-b"


@dataclass(frozen=True)
class Finding:
    """One comparison; `ok` when `low` <= `observed` <= `high`. `n` is the number of packets that it rests on.

    `attempts` above 1: a busy machine spoilt the timing before.
    """

    backend: str
    case: str
    metric: str
    unit: str
    declared: float | None
    observed: float
    low: float
    high: float
    n: int
    attempts: int = 1

    @property
    def ok(self) -> bool:
        """Whether the link is what it says."""
        return self.low <= self.observed <= self.high

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-ready."""
        return {**asdict(self), "ok": self.ok}


def predicted(case: Case, seen: Seen, seed: int) -> dict[int, list[int]]:
    """Return when each packet is due by the model (ns, on the stamps' clock); lost ones are absent, copies included.

    With the seed of the links this is what the userlink backends must do; with another one it is a sample of the
    same distribution.
    """
    direction = case.profile.up
    traces = {field: parse_trace(case.trace or "", "rate", case.name) for field, _ in direction.files}
    way = LinkDirection(settings_of(direction, traces), stream_seeds(seed, CABLE, "up"))
    due: dict[int, list[int]] = {}
    start = seen.sent_ns[0]
    for at in seen.sent_ns:
        way.arrive(at - start, case.stream.frame_bytes)
    for frame in way.due(1 << 62):
        due.setdefault(frame.number, []).append(frame.deliver + start)
    return due


def judge(case: Case, backend: str, seen: Seen, *, seed: int, seeded: bool) -> list[Finding]:
    """Return all comparisons that the case asks for; `seeded` where the backend draws by our seed."""
    judges: dict[str, Callable[[], Sequence[_Found]]] = {
        "delay": lambda: _delay(case, seen, seed) if seeded or not _random(case.profile.up) else [],
        "distribution": lambda: _distribution(case, seen, seed),
        "loss": lambda: _loss(case, seen),
        "rate": lambda: _rate(case, seen),
        "queue": lambda: _queue(case, seen, seed),
        "reorder": lambda: _reorder(case, seen),
        "duplicate": lambda: [_share("duplicated", case.profile.up.duplicate_percent, seen.duplicated, seen)],
        "oversize": lambda: [("oversize_lost", "%", 100.0, 100.0 * seen.lost / len(seen.sent_ns), 100.0, 100.0)],
    }
    n = len(seen.sent_ns)
    return [
        Finding(backend, case.name, metric, unit, declared, observed, low, high, n)
        for check in case.checks
        for metric, unit, declared, observed, low, high in judges[check]()
    ]


def compare(case: str, samples: dict[str, Sequence[float]]) -> list[Finding]:
    """Return the Kolmogorov-Smirnov distance between the delays (ms) that two backends gave to the same case."""
    found: list[Finding] = []
    names = sorted(samples)
    for first, second in pairwise(names):
        x, y = samples[first], samples[second]
        distance = float(stats.ks_2samp(x, y).statistic)
        found.append(
            Finding(f"{first}/{second}", case, "ks_distance", "1", 0, distance, 0, _ks_bound(len(x), len(y)), len(x))
        )
    return found


_Found = tuple[str, str, float | None, float, float, float]


def _random(direction: Direction) -> bool:
    return direction.jitter is not None or direction.loss is not None or bool(direction.reorder_percent)


def _delay(case: Case, seen: Seen, seed: int) -> list[_Found]:
    due = predicted(case, seen, seed)
    known = due.keys() - seen.doubtful
    errors_us = [(at - due[number][0]) / 1000 for number, at in seen.arrived if number in known]
    if not errors_us:
        return [("arrived", "packets", float(len(due)), 0.0, 1.0, math.inf)]
    declared_us = 1000 * case.profile.up.delay_ms
    p50, p99 = np.percentile(errors_us, [50, 99])
    return [
        ("delay_error_p50", "us", 0.0, float(p50), -50.0, max(200.0, 0.01 * declared_us)),
        ("delay_error_p99", "us", 0.0, float(p99), -50.0, max(1000.0, 0.05 * declared_us)),
        ("unpredicted", "packets", 0.0, float(len(set(due) ^ {number for number, _ in seen.arrived})), 0.0, 0.0),
    ]


def _distribution(case: Case, seen: Seen, seed: int) -> list[_Found]:
    # Another seed: the comparison is of distributions, not of draws.
    due = predicted(case, seen, seed + 1)
    wanted = [(at - seen.sent_ns[number]) / 1e6 for number, copies in due.items() for at in copies]
    got = seen.delays_ms
    if not got:
        return [("arrived", "packets", float(len(due)), 0.0, 1.0, math.inf)]
    distance = float(stats.ks_2samp(got, wanted).statistic)
    spread = float(np.std(wanted))
    slack = 0.1 * spread + 0.2
    return [
        ("ks_distance_to_model", "1", 0.0, distance, 0.0, _ks_bound(len(got), len(wanted))),
        ("delay_mean", "ms", float(np.mean(wanted)), float(np.mean(got)), *_around(float(np.mean(wanted)), slack)),
        ("delay_deviation", "ms", spread, float(np.std(got)), *_around(spread, slack)),
    ]


def _around(value: float, slack: float) -> tuple[float, float]:
    return value - slack, value + slack


def _ks_bound(n: int, m: int) -> float:
    """Return the critical distance at ALPHA, and 0.03 more for what timers add."""
    return math.sqrt(-0.5 * math.log(ALPHA / 2)) * math.sqrt((n + m) / (n * m)) + 0.03


def _loss(case: Case, seen: Seen) -> list[_Found]:
    direction = case.profile.up
    loss = direction.loss
    # A flipped bit makes the checksum of the packet wrong, and the receiving kernel drops it.
    share = direction.corrupt_percent
    correlation = 0.0
    if isinstance(loss, BernoulliLoss):
        share, correlation = loss.percent, loss.correlation
    elif isinstance(loss, GilbertElliottLoss):
        p, r = loss.good_to_bad_percent / 100, loss.bad_to_good_percent / 100
        share = (p * loss.loss_bad_percent + r * loss.loss_good_percent) / (p + r)
        correlation = 1 - p - r
    return [_share("lost", share, seen.lost, seen, correlation=correlation)]


def _share(name: str, percent: float, count: int, seen: Seen, *, correlation: float = 0) -> _Found:
    """Compare a share in percent with its binomial interval, widened for correlated draws: fewer are independent."""
    n = max(1, round(len(seen.sent_ns) * (1 - correlation) / (1 + correlation)))
    low, high = stats.binom.ppf([ALPHA / 2, 1 - ALPHA / 2], n, percent / 100) / n * 100
    return (name, "%", percent, 100 * count / len(seen.sent_ns), float(low), float(high))


def queued_rate_mbit(
    seen: Seen, *, packet_bytes: int, nominal_mbit: float, delay_ms: float = 0, uneven: float = 1.5
) -> tuple[float, int]:
    """Return the rate in Mbit/s while the queue was not empty, and on how many packets that rests.

    There the link works without a pause. A packet that takes hardly more than `delay_ms` and `uneven` times its own
    transmission found the queue empty. Before one whose sending is doubtful the queue may have run empty too.
    """
    # 0.3 ms: what a late timer or receiver adds to a packet that did not wait.
    alone_ms = delay_ms + uneven * packet_bytes * 8 / nominal_mbit / 1000 + 0.3
    packets, busy_ns = 0, 0
    run: list[int] = []
    for number, at in (*seen.arrived, (0, 0)):
        if (at - seen.sent_ns[number]) / 1e6 > alone_ms and number not in seen.doubtful:
            run.append(at)
            continue
        # Short runs are mostly edges.
        if len(run) > 20:
            packets += len(run) - 1
            busy_ns += run[-1] - run[0]
        run = []
    return packets * packet_bytes * 8000 / busy_ns if busy_ns else math.nan, packets


def _rate(case: Case, seen: Seen) -> list[_Found]:
    direction = case.profile.up
    declared, uneven, packet_bytes = direction.rate_mbit, 1.5, case.stream.frame_bytes
    if declared is None:
        # A trace's opportunities come unevenly, and count packets without their Ethernet header.
        times = parse_trace(case.trace or "", "rate", case.name)
        declared, uneven, packet_bytes = rate_of_trace_mbit(times), 4.0, case.stream.size_bytes
    observed, count = queued_rate_mbit(
        seen, packet_bytes=packet_bytes, nominal_mbit=declared, delay_ms=direction.delay_ms, uneven=uneven
    )
    if count < 100:
        return [("arrived_queued", "packets", None, float(count), 100.0, math.inf)]
    return [("rate", "Mbit/s", declared, observed, 0.99 * declared, 1.01 * declared)]


def _queue(case: Case, seen: Seen, seed: int) -> list[_Found]:
    """Compare the delay behind an overloaded rate, in the last third with its full queue, with the model's."""
    assert case.profile.up.rate_mbit is not None
    due = predicted(case, seen, seed)
    late = 2 * len(seen.sent_ns) // 3
    declared = float(np.median([(due[i][0] - seen.sent_ns[i]) / 1e6 for i in due if i >= late]))
    got = [(at - seen.sent_ns[number]) / 1e6 for number, at in seen.arrived if number >= late]
    observed = float(np.median(got)) if got else math.nan
    # A packet that finds room for itself waits for up to a packet less than a full queue.
    slack = max(0.05 * declared, 2 * case.stream.frame_bytes * 8 / case.profile.up.rate_mbit / 1000) + 0.5
    return [("overload_delay", "ms", declared, observed, declared - slack, declared + slack)]


def _reorder(case: Case, seen: Seen) -> list[_Found]:
    up = case.profile.up
    half = up.delay_ms / 2
    early = sum(delay < half for delay in seen.delays_ms)
    overtaken = sum(a > b for (a, _), (b, _) in pairwise(seen.arrived))
    return [
        _share("sent_ahead", up.reorder_percent, early, seen, correlation=up.reorder_correlation),
        ("out_of_order", "packets", None, float(overtaken), 1.0, math.inf),
    ]
