"""The commands that netem gets for a direction, and whether the kernel reports just that (pure)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from harness.model.link import Direction, LinkProfile
from harness.model.link_profile import ETHERNET_HEADER_BYTES, BernoulliLoss, GilbertElliottLoss, TraceLoss

# Frames that the delay line may hold beyond what the rate can put into it, and where there is no rate at all.
LINE_MARGIN: Final = 1000
UNLIMITED_LINE: Final = 200_000
# netem keeps frames in order only behind a rate of its own; this one takes 0.12 us for a full frame.
ORDERING_RATE_BPS: Final = 100_000_000_000
_FULL_FRAME: Final = 1500 + ETHERNET_HEADER_BYTES


@dataclass(frozen=True)
class Qdisc:
    """One `tc qdisc add`: its place, its words, and what the kernel must report of it as `tc -j` names it."""

    handle: str
    parent: str
    kind: str
    words: tuple[str, ...]
    expect: Mapping[str, Any]


def netem_refusals(profile: LinkProfile) -> list[str]:
    """Return what of the profile netem cannot do, or does differently than it says."""
    found: list[str] = []
    for way in ("up", "down"):
        direction: Direction = getattr(profile, way)
        jitter, loss = direction.jitter, direction.loss
        if direction.rate_file is not None:
            found.append(f"{way}.rate_file: netem plays no rate traces")
        if isinstance(loss, TraceLoss):
            found.append(f"{way}.loss.file: netem plays no loss traces")
        if isinstance(loss, BernoulliLoss) and loss.correlation:
            found.append(f"{way}.loss.correlation: netem's correlation changes the share of lost frames")
        if direction.reorder_correlation:
            found.append(f"{way}.reorder_correlation: netem's correlation changes the share of reordered frames")
        if jitter is not None and jitter.kind == "trace":
            found.append(f"{way}.jitter.file: netem plays no jitter traces in order")
        if jitter is not None and jitter.correlation:
            found.append(f"{way}.jitter.correlation: netem's correlation narrows the jitter")
    return found


def netem_plan(direction: Direction) -> list[Qdisc]:
    """Return the qdiscs of a direction, from the root: netem for everything but the rate, below it rate and queue.

    netem's own `limit` is only its delay line, long enough never to overflow before the queue does.
    """
    plan = [_netem(direction)]
    if direction.rate_mbit is None or direction.queue is None:
        return plan
    rate_bps = round(direction.rate_mbit * 1_000_000)
    # A bucket deep enough for the kernel's timer, shallow enough to be no burst: 250 us, at least one frame.
    burst = max(2 * _FULL_FRAME, rate_bps // 8 // 4000)
    queue = direction.queue
    limit = queue.limit_bytes if queue.limit_bytes is not None else (queue.limit_packets or 1) * _FULL_FRAME
    words: tuple[str, ...] = ("rate", f"{rate_bps}bit", "burst", f"{burst}b", "limit", f"{max(limit, burst)}b")
    plan.append(Qdisc("2:", "1:1", "tbf", words, {"rate": rate_bps // 8}))
    if queue.discipline == "codel":
        packets = queue.limit_packets or ceil(limit / _FULL_FRAME)
        target, interval = (f"{round(ms * 1000)}us" for ms in (queue.target_ms, queue.interval_ms))
        words = ("limit", str(packets), "target", target, "interval", interval, "noecn")
        plan.append(Qdisc("3:", "2:1", "codel", words, {"limit": packets}))
    elif queue.limit_bytes is not None:
        plan.append(Qdisc("3:", "2:1", "bfifo", ("limit", str(limit)), {"limit": limit}))
    else:
        plan.append(Qdisc("3:", "2:1", "pfifo", ("limit", str(queue.limit_packets)), {"limit": queue.limit_packets}))
    return plan


def _netem(direction: Direction) -> Qdisc:
    words: list[str] = ["limit", str(_line_limit(direction))]
    expect: dict[str, Any] = {"limit": _line_limit(direction)}
    if direction.delay_ms or direction.jitter is not None:
        words += ["delay", _microseconds(direction.delay_ms)]
        expect["delay"] = {"delay": direction.delay_ms / 1000}
    if direction.jitter is not None:
        words += [_microseconds(direction.jitter.jitter_ms)]
        expect["delay"]["jitter"] = direction.jitter.jitter_ms / 1000
        # tc's own table for uniform jitter is none at all; ours are those of the other backend.
        words += ["distribution", f"overlaybench-{direction.jitter.kind}"]
    if isinstance(direction.loss, BernoulliLoss):
        words += ["loss", "random", _share(direction.loss.percent)]
        expect["loss-random"] = {"loss": direction.loss.percent / 100}
    elif isinstance(direction.loss, GilbertElliottLoss):
        loss = direction.loss
        shares = (loss.good_to_bad_percent, loss.bad_to_good_percent, loss.loss_bad_percent, loss.loss_good_percent)
        words += ["loss", "gemodel", *map(_share, shares)]
        names = ("p", "r", "1-h", "1-k")
        expect["loss-gemodel"] = {name: share / 100 for name, share in zip(names, shares, strict=True)}
    for word, share in (("duplicate", direction.duplicate_percent), ("corrupt", direction.corrupt_percent)):
        if share:
            words += [word, _share(share)]
            expect[word] = {word: share / 100}
    if direction.reorder_percent:
        words += ["reorder", _share(direction.reorder_percent)]
        expect["reorder"] = {"reorder": direction.reorder_percent / 100}
    elif direction.jitter is not None:
        words += ["rate", f"{ORDERING_RATE_BPS}bit"]
        expect["rate"] = {"rate": ORDERING_RATE_BPS // 8}
    return Qdisc("1:", "root", "netem", tuple(words), expect)


def _line_limit(direction: Direction) -> int:
    if direction.rate_mbit is None:
        return UNLIMITED_LINE
    # The rate comes behind the line, so that a sender may put in more than the rate for as long as the delay lasts.
    return max(UNLIMITED_LINE, ceil(direction.rate_mbit * direction.delay_ms * 125 / 64) + LINE_MARGIN)


def _microseconds(milliseconds: float) -> str:
    return f"{milliseconds * 1000:.3f}us"


def _share(percent: float) -> str:
    return f"{percent:.7f}%"


def read_back_problems(plan: Sequence[Qdisc], reported: Sequence[Mapping[str, Any]], interface: str) -> list[str]:
    """Return where `tc -j qdisc show` of the interface differs from the plan; empty where it is as planned.

    Numbers may differ by 0.1 %, times by 2 us: tc and the kernel keep them in units of their own.
    """
    found: list[str] = []
    by_handle = {str(qdisc.get("handle")): qdisc for qdisc in reported}
    for wanted in plan:
        seen = by_handle.get(wanted.handle)
        if seen is None or seen.get("kind") != wanted.kind:
            found.append(f"{interface}: no {wanted.kind} with handle {wanted.handle}")
            continue
        found += [
            f"{interface}: {wanted.kind} {problem}" for problem in _differences(wanted.expect, seen.get("options", {}))
        ]
        if wanted.kind == "netem":
            extra = {"loss-random", "loss-gemodel", "duplicate", "corrupt", "reorder", "delay"} - set(wanted.expect)
            options = seen.get("options", {})
            found += [
                f"{interface}: netem does {name}, which was not asked for" for name in extra if _active(options, name)
            ]
    return found


def _active(options: Mapping[str, Any], name: str) -> bool:
    value = options.get(name)
    return any(_number(part) for part in value.values()) if isinstance(value, Mapping) else bool(value)


def _differences(wanted: Mapping[str, Any], seen: Any, path: str = "") -> list[str]:
    found: list[str] = []
    for key, value in wanted.items():
        there = seen.get(key) if isinstance(seen, Mapping) else None
        if isinstance(value, Mapping):
            found += _differences(value, there, f"{path}{key}.")
        elif there is None or abs(_number(there) - value) > 0.001 * abs(value) + _rounding(path):
            found.append(f"{path}{key} is {there!r}, not {value!r}")
    return found


def _rounding(path: str) -> float:
    return 2e-6 if path.startswith("delay.") else 1e-9


def _number(value: Any) -> float:
    """Return a number that older versions of tc give as text with a unit."""
    if isinstance(value, str):
        match = re.match(r"[-+0-9.eE]+", value)
        return float(match.group()) if match else float("nan")
    return float(value) if isinstance(value, int | float) else float("nan")
