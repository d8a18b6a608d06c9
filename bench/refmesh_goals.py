"""The goals of refmesh against its rivals, judged by ratios within each round of one run. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

OLDER = ("wireguard-go", "openvpn", "nebula", "tinc")
Rounds = Mapping[str, Mapping[str, Sequence[float | None]]]
"""Figures by subject and metric (`tcp_mbit`, `rtt_ms`, `cpu_s_per_gb`), one a round; None where it did not come up."""


@dataclass(frozen=True)
class Goal:
    """A ratio that should be at least, or at most, so much."""

    text: str
    own: str
    rivals: tuple[str, ...]
    metric: str
    limit: float
    at_least: bool


GOALS = (
    Goal("negotiated framing, throughput to tailscale's", "refmesh", ("tailscale",), "tcp_mbit", 1.5, True),
    Goal("plain framing, throughput to the best older one's", "refmesh-wireguard", OLDER, "tcp_mbit", 2.5, True),
    Goal("plain framing, throughput to tailscale's", "refmesh-wireguard", ("tailscale",), "tcp_mbit", 0.5, True),
    Goal("negotiated framing, added RTT to the lowest other's", "refmesh", (), "rtt_ms", 1.0, False),
    Goal("plain framing, added RTT to the lowest other's", "refmesh-wireguard", (), "rtt_ms", 1.0, False),
    Goal("negotiated framing, CPU per GB to tailscale's", "refmesh", ("tailscale",), "cpu_s_per_gb", 1.0, False),
    Goal("plain framing, CPU per GB to tailscale's", "refmesh-wireguard", ("tailscale",), "cpu_s_per_gb", 1.0, False),
)


def judged(rounds: Rounds) -> list[dict[str, Any]]:
    """Return each goal with its ratio (median, lowest and highest of the rounds), the rivals measured, and its verdict.

    `unknown` where subject or rivals were not measured. The median decides, of the rounds in which all came up
    (`rounds`).
    """
    return [asdict(goal) | _verdict(goal, rounds) for goal in GOALS]


def _verdict(goal: Goal, rounds: Rounds) -> dict[str, Any]:
    rivals = goal.rivals or tuple(name for name in rounds if name != "underlay" and not name.startswith("refmesh"))
    own, measured = (
        _values(goal.own, goal.metric, rounds),
        {name: _values(name, goal.metric, rounds) for name in rivals},
    )
    measured = {name: values for name, values in measured.items() if any(value is not None for value in values)}
    best = max if goal.at_least else min
    # Within a round, as machines change from minute to minute; and against the same rivals in every one.
    ratios = [
        mine / best(theirs)
        for mine, *others in zip(own, *measured.values(), strict=False)
        if mine is not None and (theirs := [one for one in others if one is not None]) and len(theirs) == len(others)
    ]
    if not ratios:
        return {"ratio": None, "lowest": None, "highest": None, "against": [], "rounds": 0, "verdict": "unknown"}
    ratio = statistics.median(ratios)
    passed = ratio >= goal.limit if goal.at_least else ratio <= goal.limit
    spread = {"ratio": round(ratio, 3), "lowest": round(min(ratios), 3), "highest": round(max(ratios), 3)}
    return spread | {"against": list(measured), "rounds": len(ratios), "verdict": "pass" if passed else "missed"}


def _values(name: str, metric: str, rounds: Rounds) -> list[float | None]:
    values = list(rounds.get(name, {}).get(metric, ()))
    if metric == "rtt_ms":
        # What the tunnel adds; where the underlay's own jitter is larger than that, a microsecond.
        bases = rounds["underlay"]["rtt_ms"]
        return [
            None if one is None or base is None else max(one - base, 0.001)
            for one, base in zip(values, bases, strict=False)
        ]
    return values


def lines(goals: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each goal."""
    made = []
    for goal in goals:
        wanted = f"{'>=' if goal['at_least'] else '<='} {goal['limit']:g}"
        seen = "not measured"
        if goal["ratio"] is not None:
            seen = f"{goal['ratio']:.2f} ({goal['lowest']:.2f} to {goal['highest']:.2f})"
            rounds = f"{goal['rounds']} round{'' if goal['rounds'] == 1 else 's'}"
            seen += f", against {', '.join(goal['against'])}, {rounds}"
        made.append(f"{goal['verdict']:<8} {goal['text']:<52} {wanted:<7} {seen}")
    return made
