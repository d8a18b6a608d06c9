"""The rounds probe: everybody sends to everybody, and goes on when all have come; what a computation does all day.

A round lasts as long as its slowest pair. The parties are a tool of our own in C (`party/`), which costs a round of ten
parties some 0.05 ms of a processor in user mode.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field, PositiveInt

from harness.probes.contract import (
    Chapter,
    Found,
    Measurement,
    Pair,
    Probe,
    ProbeSettings,
    Shown,
    Surroundings,
    Table,
    Target,
)
from harness.probes.exits import exits, sent_per_byte
from harness.probes.gathering import BUILD, CONNECT_S, PROGRAM, Gathering
from harness.probes.ordered import of_all_sent, percentiles
from harness.probes.roundlog import PartyLog, Round, begin_of, rounds_of, rounds_text
from harness.probes.steady import Reading, Window, readings_text
from harness.probes.workloads import CHAPTER, NAMES, TABLE, WORKLOADS, WorkloadName, columns_of, metrics_of, plots_of

if TYPE_CHECKING:
    from harness.link.accounting import DirectionCounts
    from harness.model.topology import Topology

_US_IN_MS: Final = 1000.0


class RoundsSettings(ProbeSettings):
    """Joint computations in rounds: all members send to all others, over one TCP connection for each pair.

    `chatty` is 150 rounds of 32 B, `mixed` 100 rounds of 35 kB, `bulk` 17 rounds of 500 kB, as in MPyC programs;
    `rounds` and `payload_bytes` change that for single workloads. A workload that is not done after `deadline_s` is
    ended. `baseline: lab` also runs the workloads over the underlay of the same lab, once the overlay has stopped;
    `none` leaves that out.
    """

    workloads: tuple[WorkloadName, ...] = Field(default=NAMES, min_length=1)
    rounds: dict[WorkloadName, PositiveInt] = Field(default={})
    payload_bytes: dict[WorkloadName, PositiveInt] = Field(default={})
    deadline_s: float = Field(default=120.0, gt=0, le=3600)
    baseline: Literal["lab", "none"] = "lab"

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
        return len(self.workloads) * (self.deadline_s + CONNECT_S)

    def conditions(self) -> dict[str, Any]:
        """Return the sizes that are not the usual ones: such runs are not repeats of others."""
        sizes = (("rounds", self.rounds), ("payload_bytes", self.payload_bytes))
        return {f"{name}_{what}": value for what, given in sizes for name, value in given.items()}

    def missing(self) -> Mapping[str, str]:
        """Name the parties' program where there was no compiler."""
        return {} if os.access(PROGRAM, os.X_OK) else {f"the program {PROGRAM.name}": BUILD}

    def size_of(self, name: WorkloadName) -> tuple[int, int]:
        """Payload in bytes and number of rounds of a workload."""
        usual = WORKLOADS[name]
        return self.payload_bytes.get(name, usual.payload_bytes), self.rounds.get(name, usual.rounds)


@dataclass(frozen=True)
class Computed:
    """One workload: the rounds that were done of those `planned`, and what all of it took between two readings."""

    name: WorkloadName
    planned: int
    begin_s: float | None
    rounds: tuple[Round, ...]
    parties: tuple[PartyLog, ...]
    window: Window
    places: Mapping[str, frozenset[str]]
    server: str | None
    evidence: str

    @property
    def completion_s(self) -> float | None:
        """From the beginning to the end of the last round; None where it was not done."""
        if self.begin_s is None or len(self.rounds) < self.planned:
            return None
        return self.rounds[-1].finished_s - self.begin_s

    def why_halted(self, deadline_s: float) -> str | None:
        """Say that it ended before its deadline, or that no round did in the second half of it; None: it went on."""
        if self.completion_s is not None:
            return None
        ended_s = self.window.after.at_s
        began_s = ended_s if self.begin_s is None else self.begin_s
        last_s = self.rounds[-1].finished_s if self.rounds else began_s
        if ended_s - last_s < deadline_s / 2 and ended_s - began_s >= deadline_s:
            return None
        lost = [f"{party.name} lost {', '.join(party.lost)}" for party in self.parties if party.lost]
        said = f": {'; '.join(lost)}" if lost else ""
        return f"carried {len(self.rounds)} of the {self.planned} rounds of `{self.name}`{said}"


class RoundsProbe(Probe[RoundsSettings, tuple[Computed, ...]]):
    """All members at once, over interfaces and streams alike; alone on the machine."""

    name = "rounds"
    order = 85
    settings = RoundsSettings
    needs = frozenset({"interface", "stream"})
    turn = "exclusive"
    doing = "computing in rounds"
    at_once = True
    metrics = tuple(metric for name in NAMES for metric in metrics_of(name))
    shows = Shown(
        chapters=(Chapter(CHAPTER, "Computations in rounds", place=35),),
        tables=(
            Table(
                TABLE,
                "Computations in rounds",
                CHAPTER,
                "In each round every party sends to every other, and goes on when it has received from all. Time "
                "for all rounds of a workload, and the same as a multiple of the underlay's.",
            ),
        ),
        columns=tuple(column for name in NAMES for column in columns_of(name)),
        plots=tuple(plot for name in NAMES for plot in plots_of(name)),
    )

    def measure(self, target: Target, settings: RoundsSettings, trial: Surroundings) -> tuple[Computed, ...]:
        """Measure two parties."""
        return self.measure_all([target], settings, trial)[target.pair]

    def measure_all(
        self, targets: Sequence[Target], settings: RoundsSettings, trial: Surroundings
    ) -> dict[Pair, tuple[Computed, ...]]:
        """Measure all parties, one workload after the other.

        Raises:
            OverlayError: a party could not connect to every other.
        """
        found = tuple(compute(targets, name, settings, trial) for name in settings.workloads)
        return {target.pair: found for target in targets}

    def over_underlay(self, settings: RoundsSettings) -> bool:
        """Tell whether the baseline is that of the lab."""
        return settings.baseline == "lab"

    def why_no_baseline(self, target: Target, found: tuple[Computed, ...], settings: RoundsSettings) -> str | None:
        """Say which workload came to a halt; one that is merely slow is a figure."""
        del target
        return next((why for one in found if (why := one.why_halted(settings.deadline_s)) is not None), None)

    def summarise(self, found: Found[tuple[Computed, ...]], settings: RoundsSettings) -> list[Measurement]:
        """Return nothing: a round belongs to all parties, not to a pair."""
        del found, settings
        return []

    def summarise_trial(
        self, found: Sequence[Found[tuple[Computed, ...]]], settings: RoundsSettings
    ) -> Iterator[Measurement]:
        """See `summarise_workload`."""
        del settings
        direct = {one.target.pair: _verdict(one) == "direct" for one in found if _verdict(one) is not None}
        below = {one.name: one for one in found[0].underlay or ()}
        for computed in found[0].overlay:
            yield from summarise_workload(computed, below.get(computed.name), direct)


def compute(targets: Sequence[Target], name: WorkloadName, settings: RoundsSettings, trial: Surroundings) -> Computed:
    """Run one workload to its end, or to its deadline.

    Raises:
        OverlayError: a party could not connect to every other.
    """
    payload_bytes, planned = settings.size_of(name)
    topology: Topology = targets[0].lab.topology
    with Gathering(targets, name, payload_bytes=payload_bytes, rounds=planned) as gathering:
        gathering.wait_until_connected()
        before = _reading(trial, 0)
        gathering.begin()
        gathering.wait(settings.deadline_s)
        gathering.stop()
        parties = gathering.read()
        rounds = rounds_of(parties)
        count = len(gathering.names)
        after = _reading(trial, len(rounds) * count * (count - 1) * payload_bytes)
    window = Window(f"{targets[0].label} {name}", before, after)
    gathering.evidence.write_text(rounds_text(begin_of(parties), rounds))
    gathering.evidence.with_suffix(".json").write_text(readings_text([window]))
    return Computed(
        name,
        planned,
        begin_of(parties),
        tuple(rounds),
        tuple(parties),
        window,
        exits(topology),
        topology.server,
        str(gathering.evidence),
    )


def summarise_workload(
    computed: Computed, below: Computed | None, direct: Mapping[Pair, bool]
) -> Iterator[Measurement]:
    """Give the figures of one workload; `direct` says of each pair whether its path is, where measured. Pure."""

    def figure(what: str, unit: str, value: float | None, evidence: str = computed.evidence) -> Measurement:
        return Measurement(probe="rounds", metric=f"{computed.name}_{what}", unit=unit, value=value, evidence=evidence)

    whole_s = computed.completion_s
    yield figure("completion_s", "s", whole_s)
    yield figure("rounds_done", "count", float(len(computed.rounds)))
    if below is not None:
        yield figure("underlay_completion_s", "s", below.completion_s, below.evidence)
        if below.completion_s:
            yield figure("underlay_ratio", "1", None if whole_s is None else whole_s / below.completion_s)
    missing = computed.planned - len(computed.rounds)
    lasted = of_all_sent([*(one.duration_s for one in computed.rounds), *[None] * missing])
    for share, value in percentiles(lasted, (50, 95)):
        yield figure(f"round_p{share}_ms", "ms", None if value is None else 1000 * value)
    yield from _cost(computed, figure)
    known = [direct[pair] for one in computed.rounds if (pair := _pair_of(one, direct)) is not None]
    if known:
        yield figure("waited_relayed_ratio", "1", known.count(False) / len(known))


def _cost(computed: Computed, figure: Any) -> Iterator[Measurement]:
    moved = computed.window.moved_bytes
    counts: Mapping[str, Mapping[str, DirectionCounts]] = computed.window.carried.counts
    readings = computed.evidence.removesuffix(".csv") + ".json"
    # What was under way of a round that was not finished is no part of `moved`, but of what links carried.
    if computed.completion_s is not None:
        for who, share in sent_per_byte(counts, computed.places, moved):
            yield figure(f"{who}_bytes_per_byte", "B/B", share, readings)
    before, after = (one.usage.get(computed.server or "") for one in (computed.window.before, computed.window.after))
    if before is not None and after is not None:
        yield figure("server_cpu_s", "s", after.cpu_s - before.cpu_s, readings)
    for metric, spent in (
        ("probe_cpu_ms", [party.user_us for party in computed.parties]),
        ("probe_kernel_ms", [party.system_us for party in computed.parties]),
    ):
        known = [one_us for one_us in spent if one_us is not None]
        if computed.rounds and len(known) == len(spent):
            yield figure(metric, "ms", sum(known) / _US_IN_MS / len(computed.rounds))


def _pair_of(one: Round, direct: Mapping[Pair, bool]) -> Pair | None:
    """Return the pair whose data ended the round, as it is named in `direct`; None where none was waited for."""
    ways = ((one.party, one.waited_for), (one.waited_for, one.party))
    return next((pair for pair in ways if pair in direct), None)


def _verdict(found: Found[Any]) -> str | None:
    """Return what the path probe said of the pair, None where it did not run."""
    path = found.earlier.get("path")
    return None if path is None else str(path.verdict)


def _reading(trial: Surroundings, moved_bytes: int) -> Reading:
    return Reading(time.time(), moved_bytes, trial.usage(), trial.carried())
