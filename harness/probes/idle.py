"""The idle probe: what an overlay costs while it is not used, and how often it keeps its mappings alive.

Nothing is sent through the overlay for a while; every packet at the members' ports is then the overlay's own. A NAT may
forget an idle UDP mapping after two minutes (RFC 4787 REQ-5), so a minute shows what a product does about it.
"""

from __future__ import annotations

import json
import statistics
import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from harness.probes.contract import Found, Measurement, Pair, Probe, ProbeSettings, Surroundings, Target
from harness.probes.measurement import figure_of
from harness.results.declared import Chapter, Column, Metric, Shown, Table

if TYPE_CHECKING:
    from harness.lab.process import Usage
    from harness.lab.tap import Passing
    from harness.model.family import Address

# Packets closer together than this are one keepalive and what belongs to it.
_TOGETHER_S: Final = 0.1


@dataclass(frozen=True)
class Idle:
    """What one member's port saw, and what the overlay's processes used meanwhile, on all nodes.

    `bytes_per_s` and `packets_per_s` are both ways together; `interval_s` is None where too few keepalives were seen.
    """

    bytes_per_s: float
    packets_per_s: float
    interval_s: float | None


@dataclass(frozen=True)
class Quiet:
    """All members, the CPU share in per cent and the memory of the member that used most; `evidence` is the file."""

    members: Mapping[str, Idle]
    cpu_percent: float
    rss_mib: float
    evidence: str


class IdleSettings(ProbeSettings):
    """What the overlay sends and uses in `duration_s` without user traffic; other trials may run at the same time."""

    duration_s: float = Field(default=60.0, ge=1, le=3600)

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
        return self.duration_s


class IdleProbe(Probe[IdleSettings, Quiet]):
    """All members at once, whatever endpoints they have."""

    name = "idle"
    order = 5
    settings = IdleSettings
    needs = frozenset({"interface", "stream", "content"})
    turn = "waiting"
    doing = "watching the idle overlay"
    at_once = True
    repeatable = False
    minds_lateness = False
    metrics = (
        Metric(
            "idle_bytes_per_s",
            "B/s",
            "IP bytes that a member sends and receives over the underlay while nothing is sent through the overlay.",
            "this project",
            better="lower",
            min_absolute=5.0,
            in_tables=True,
        ),
        Metric(
            "idle_packets_per_s",
            "1/s",
            "Packets that a member sends and receives over the underlay while nothing is sent through the overlay.",
            "this project",
            better="lower",
            min_absolute=0.05,
            in_tables=True,
        ),
        Metric(
            "keepalive_interval_s",
            "s",
            "Median time between packets that an idle member sends to the destination to which it sends most often "
            "(packets within 0.1 s count as one); the shortest over the members.",
            "RFC 4787 REQ-5",
            in_tables=True,
        ),
        Metric(
            "idle_cpu_percent",
            "%",
            "Share of one processor that the overlay's processes use on the busiest node while idle.",
            "proc(5)",
            better="lower",
            min_absolute=0.2,
            in_tables=True,
        ),
        Metric(
            "idle_cpu_percent_per_peer",
            "%",
            "The same, per other member.",
            "proc(5)",
            better="lower",
            min_absolute=0.2,
            in_tables=True,
        ),
        Metric(
            "idle_rss_mib",
            "MiB",
            "Largest resident memory of the overlay's processes on one node, before any load.",
            "proc(5), VmHWM",
            better="lower",
            min_absolute=2.0,
            in_tables=True,
        ),
    )
    shows = Shown(
        chapters=(Chapter("idle", "Idle", place=14),),
        tables=(
            Table(
                "idle",
                "Cost of an idle overlay",
                "idle",
                "While nothing is sent through the overlay: a member's packets over the underlay; keepalive, the "
                "median time between packets to the destination to which it sends most often (the shortest over the "
                "members); CPU and memory of the overlay's processes on the busiest node.",
            ),
        ),
        columns=(
            Column("idle", "B/s", "idle_bytes_per_s", digits=1),
            Column("idle", "packets/s", "idle_packets_per_s"),
            Column("idle", "keepalive (s)", "keepalive_interval_s", digits=1),
            Column("idle", "CPU %", "idle_cpu_percent"),
            Column("idle", "CPU % per peer", "idle_cpu_percent_per_peer"),
            Column("idle", "memory (MiB)", "idle_rss_mib", digits=0),
        ),
    )

    def measure(self, target: Target, settings: IdleSettings, trial: Surroundings) -> Quiet:
        """Measure the members of one pair."""
        return self.measure_all([target], settings, trial)[target.pair]

    def measure_all(self, targets: Sequence[Target], settings: IdleSettings, trial: Surroundings) -> dict[Pair, Quiet]:
        """Watch all members' ports while sending nothing."""
        from harness.lab.tap import Tap  # noqa: PLC0415  # a lab's; this module is read by reports as well

        lab, folder = targets[0].lab, targets[0].folder
        members = {name: lab.port_of(name) for target in targets for name in target.pair}
        tap = Tap(sorted(set(members.values())), folder / "idle.pcapng", lab.beside)
        before, began = trial.usage(), time.monotonic()
        time.sleep(settings.duration_s)
        lasted_s, after = time.monotonic() - began, trial.usage()
        tap.close()
        seen = {
            name: summarise_port(tap.seen(port), frozenset(lab.topology.hosts[name].addresses), lasted_s)
            for name, port in members.items()
        }
        evidence = folder / "idle.json"
        evidence.write_text(json.dumps(_raw(lasted_s, before, after), indent=1))
        quiet = Quiet(seen, busiest_percent(before, after, lasted_s), _most_rss(after), str(evidence))
        return {target.pair: quiet for target in targets}

    def summarise(self, found: Found[Quiet], settings: IdleSettings) -> list[Measurement]:
        """Return nothing: a member's packets to a relay belong to no pair."""
        del found, settings
        return []

    def summarise_trial(self, found: Sequence[Found[Quiet]], settings: IdleSettings) -> list[Measurement]:
        """Return the mean member's bytes and packets, the shortest interval, the busiest node."""
        del settings
        quiet = found[0].overlay
        members = quiet.members.values()
        intervals = [one.interval_s for one in members if one.interval_s is not None]
        peers = max(1, len(quiet.members) - 1)
        figure = figure_of(None, "idle", quiet.evidence)
        return [
            figure("idle_bytes_per_s", statistics.fmean(one.bytes_per_s for one in members)),
            figure("idle_packets_per_s", statistics.fmean(one.packets_per_s for one in members)),
            figure("keepalive_interval_s", min(intervals, default=None)),
            figure("idle_cpu_percent", quiet.cpu_percent),
            figure("idle_cpu_percent_per_peer", quiet.cpu_percent / peers),
            figure("idle_rss_mib", quiet.rss_mib),
        ]


def summarise_port(seen: Sequence[Passing], own: Collection[Address], lasted_s: float) -> Idle:
    """Summarise what a member sent and received in `lasted_s` seconds, and how often to its most frequent peer."""
    mine = [one for one in seen if one.src in own or one.dst in own]
    sent: defaultdict[Address, list[float]] = defaultdict(list)
    for one in mine:
        if one.src in own and (not sent[one.dst] or one.t - sent[one.dst][-1] > _TOGETHER_S):
            sent[one.dst].append(one.t)
    often = max(sent.values(), key=len, default=[])
    steps = [later - earlier for earlier, later in pairwise(often)]
    interval_s = statistics.median(steps) if len(steps) > 1 else None
    return Idle(sum(one.ip_bytes for one in mine) / lasted_s, len(mine) / lasted_s, interval_s)


def busiest_percent(before: Mapping[str, Usage], after: Mapping[str, Usage], lasted_s: float) -> float:
    """Return the processor share, in per cent of one, of the node whose processes used most. Pure."""
    spent = (used.cpu_s - (before[node].cpu_s if node in before else 0.0) for node, used in after.items())
    return 100 * max(spent, default=0.0) / lasted_s


def _most_rss(usage: Mapping[str, Usage]) -> float:
    return max((used.rss_mib for used in usage.values()), default=0.0)


def _raw(lasted_s: float, before: Mapping[str, Usage], after: Mapping[str, Usage]) -> dict[str, Any]:
    def plain(usage: Mapping[str, Usage]) -> dict[str, dict[str, float]]:
        return {node: {"cpu_s": used.cpu_s, "rss_mib": used.rss_mib} for node, used in usage.items()}

    return {"lasted_s": lasted_s, "before": plain(before), "after": plain(after), "packets": "idle.pcapng"}
