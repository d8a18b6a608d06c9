"""Whether the path probe's times are of one clock, of answers that came, and in time, by results/README.md alone."""

from __future__ import annotations

import bisect
from collections.abc import Iterator, Sequence
from typing import Any

from tests.recompute.evidence import Run

# Unix times have microseconds, in evidence and in records made from it.
_ABSOLUTE_S = 2e-5


def clock(run: Run, trial: str, rows: Sequence[dict[str, Any]]) -> tuple[list[str], int]:
    """Return what contradicts the pings of a trial, in words, and how many times were held against them.

    One moment (the start, or readiness) must explain all times that are counted from it: each is that of an answer, and
    each came by the deadline, direct not before connected.
    """
    differences: list[str] = []
    count = 0
    for start in ("time", "ready"):
        origins: list[float] | None = None
        for row in rows:
            if row["metric"] not in {f"{start}_to_connect_s", f"{start}_to_direct_s"} or row["value"] is None:
                continue
            answers = _answers(run, f"trials/{trial}/overlay-{row['src']}-{row['dst']}-pings.csv")
            if not answers:
                continue
            count += 1
            # A start after the answer counts as none: those are 0.
            if start == "ready" and row["value"] == 0:
                continue
            own = [answer - row["value"] for answer in answers]
            origins = own if origins is None else [one for one in origins if _has(own, one)]
            if not origins:
                where = f"{trial} {row['src']} {row['dst']} {row['metric']}"
                differences.append(f"{where}: recorded {row['value']}, no answer came then by the other times' clock")
                origins = None
    return differences + list(_order(rows)), count


def _order(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    values = {(row["metric"], row["src"], row["dst"]): row for row in rows if row["value"] is not None}
    for (metric, src, dst), row in values.items():
        if metric not in {"time_to_connect_s", "time_to_direct_s"}:
            continue
        where = f"{row['trial']} {src} {dst} {metric}"
        deadline = row["params"].get("deadline_s")
        if deadline is not None and row["value"] > deadline + _ABSOLUTE_S:
            yield f"{where}: recorded {row['value']}, after the deadline of {deadline}"
        connected = values.get(("time_to_connect_s", src, dst))
        if connected is None or row["value"] < connected["value"]:
            yield f"{where}: recorded {row['value']}, before it was connected"
        ready = values.get((metric.replace("time", "ready"), src, dst))
        if ready is not None and ready["value"] > row["value"] + _ABSOLUTE_S:
            yield f"{where}: recorded {row['value']}, and {ready['value']} from all being ready, which was later"


def _answers(run: Run, name: str) -> list[float]:
    return sorted(ping["answered_s"] for ping in run.samples(name) or () if ping["answered_s"] is not None)


def _has(ordered: Sequence[float], value: float) -> bool:
    place = bisect.bisect_left(ordered, value - _ABSOLUTE_S)
    return place < len(ordered) and ordered[place] <= value + _ABSOLUTE_S
