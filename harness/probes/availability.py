"""The availability probe: does a computation go on when something dies, and what brings it back?"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from harness.probes.contract import (
    Chapter,
    Column,
    Found,
    Happened,
    Measurement,
    Metric,
    Pair,
    Plot,
    Probe,
    ProbeSettings,
    Shown,
    Surroundings,
    Table,
    Target,
)
from harness.probes.gathering import BUILD, CONNECT_S, PROGRAM, Gathering
from harness.probes.outage import Fault, Went, shares_text
from harness.probes.pinglog import answered_pings
from harness.probes.roundlog import begin_of, rounds_of, rounds_text
from harness.results.declared import NEVER

if TYPE_CHECKING:
    from harness.lab.process import Daemon

_STEP_S = 0.02
_OURS = "this project"
_BACK = "From the end of the timeline's first event (from the event itself if nothing ends it) "


class AvailabilitySettings(ProbeSettings):
    """A computation of all members in rounds of `payload_bytes` that goes on through the timeline, next to pings.

    The traffic lasts for `duration_s`; the timeline's zero is when all parties have begun. What is judged is the first
    event, compared with the time before it.
    """

    drives_timeline: ClassVar[bool] = True
    needs_timeline: ClassVar[bool] = True

    duration_s: float = Field(default=45.0, gt=0, le=3600)
    payload_bytes: int = Field(default=32, ge=1, le=10_000_000)
    interval_ms: float = Field(default=100.0, ge=10, le=10_000)

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
        return self.duration_s + CONNECT_S

    def traffic_s(self) -> float:
        """Return how long the traffic goes on."""
        return self.duration_s

    def conditions(self) -> dict[str, Any]:
        """Return how long it was looked at: what did not come until then is censored."""
        return {"availability_s": self.duration_s}

    def missing(self) -> Mapping[str, str]:
        """Name the parties' program where there was no compiler."""
        return {} if os.access(PROGRAM, os.X_OK) else {f"the program {PROGRAM.name}": BUILD}


@dataclass(frozen=True)
class Outlived:
    """What was seen of a computation; `went` is None where no event happened, `never` are those it never came to."""

    went: Went | None
    evidence: str
    never: tuple[str, ...] = ()


class AvailabilityProbe(Probe[AvailabilitySettings, Outlived]):
    """All members at once: what happens, happens to all of them."""

    name = "availability"
    order = 91
    settings = AvailabilitySettings
    needs = frozenset({"interface"})
    turn = "shared"
    doing = "computing through the timeline"
    at_once = True
    repeatable = False
    minds_lateness = False
    metrics = (
        Metric(
            "availability",
            "1",
            "Rounds that all parties finished between the timeline's first event and its end (or the end of the "
            "traffic), as a share of the rounds in as much time at the rate before the event.",
            _OURS,
            better="higher",
            min_absolute=0.05,
            in_tables=True,
        ),
        Metric(
            "availability_after",
            "1",
            "The same between the end of the event and the end of the traffic.",
            _OURS,
            better="higher",
            min_absolute=0.05,
            in_tables=True,
        ),
        Metric(
            "coasted_s",
            "s",
            "From the timeline's first event until a round stalled, that is, lasted a second or 20 times the median "
            "round before. Censored if none stalled before the traffic ended.",
            _OURS,
            better="higher",
            estimator="censored median",
            min_absolute=0.5,
            in_tables=True,
        ),
        Metric(
            "rounds_recovery_s",
            "s",
            f"{_BACK}to the end of the next round. Censored if no round followed.",
            _OURS,
            better="lower",
            estimator="censored median",
            min_absolute=0.2,
            in_tables=True,
        ),
        Metric(
            "overlay_recovery_s",
            "s",
            f"{_BACK}until every pair had answered a ping sent after it. Censored if a pair never did.",
            _OURS,
            better="lower",
            estimator="censored median",
            min_absolute=0.2,
            in_tables=True,
        ),
        Metric(
            "tcp_recovery_s",
            "s",
            "From the moment at which the overlay carried pings again until rounds went on, which is TCP's "
            "back-off. Censored if they did not before the traffic ended.",
            "RFC 6298",
            estimator="censored median",
            min_absolute=0.2,
            in_tables=True,
        ),
        Metric("rounds_per_s", "1/s", "Rounds per second before the timeline's first event.", _OURS),
    )
    shows = Shown(
        chapters=(Chapter("availability", "Whether a computation goes on", place=41),),
        tables=(
            Table(
                "availability",
                "A computation through the timeline's first event",
                "availability",
                "Rounds during the event and after it, as a share of the rate before. Next round, overlay back: "
                "time from the end of the event until a round was done, and until all pairs answered pings; the "
                "difference is TCP's back-off. lost: not before the traffic ended.",
            ),
        ),
        columns=(
            Column("availability", "rounds during event", "availability", "percent"),
            Column("availability", "rounds after it", "availability_after", "percent"),
            Column("availability", "next round after (s)", "rounds_recovery_s"),
            Column("availability", "overlay back after (s)", "overlay_recovery_s"),
            Column("availability", "TCP's part (s)", "tcp_recovery_s"),
        ),
        plots=(
            Plot(
                "strip",
                "availability",
                "availability",
                "Rounds done while the fault lasted",
                label="share of the rate before",
                ratio=True,
            ),
        ),
    )

    def measure(self, target: Target, settings: AvailabilitySettings, trial: Surroundings) -> Outlived:
        """Measure two parties."""
        return self.measure_all([target], settings, trial)[target.pair]

    def measure_all(
        self, targets: Sequence[Target], settings: AvailabilitySettings, trial: Surroundings
    ) -> dict[Pair, Outlived]:
        """Compute while the timeline runs.

        Raises:
            OverlayError: a party could not connect to every other.
            LabError: the kernel or a tool refused an event.
        """
        pings: list[Daemon] = []
        with Gathering(targets, self.name, payload_bytes=settings.payload_bytes, rounds=0) as gathering:
            try:
                gathering.wait_until_connected()
                pings += [_ping(target, settings) for target in targets]
                gathering.begin()
                begin_s = time.time()
                trial.timeline.begin()
                end_s = begin_s + settings.duration_s
                while (left_s := end_s - time.time()) > 0:
                    due_s = trial.timeline.poll()
                    time.sleep(min(_STEP_S, left_s) if due_s is None else min(_STEP_S, left_s, due_s))
                never = tuple(trial.timeline.never)
            finally:
                for ping in pings:
                    ping.stop()
            gathering.stop()
            parties = gathering.read()
        rounds = rounds_of(parties)
        gathering.evidence.write_text(rounds_text(begin_of(parties), rounds))
        fault = fault_of(trial.timeline.happened, begin_s)
        if fault is None:
            found = Outlived(None, str(gathering.evidence), never)
        else:
            answers = tuple(tuple(answered_pings(ping.text)) for ping in pings)
            went = Went(begin_s, end_s, tuple(one.finished_s for one in rounds), answers, fault)
            evidence = targets[0].folder / f"{targets[0].label}-availability.csv"
            evidence.write_text(shares_text(went.shares()))
            moments = {"begin_s": begin_s, "end_s": end_s, **asdict(fault)}
            evidence.with_suffix(".json").write_text(json.dumps(moments))
            found = Outlived(went, str(evidence), never)
        return {target.pair: found for target in targets}

    def summarise(self, found: Found[Outlived], settings: AvailabilitySettings) -> list[Measurement]:
        """Return nothing: a round belongs to all parties, not to a pair."""
        del found, settings
        return []

    def summarise_trial(
        self, found: Sequence[Found[Outlived]], settings: AvailabilitySettings
    ) -> Iterator[Measurement]:
        """See `summarise_outage`; an event that never came is said as well."""
        del settings
        seen = found[0].overlay
        if seen.went is not None:
            yield from summarise_outage(seen.went, seen.evidence)
        for name in seen.never:
            yield Measurement(
                probe=self.name,
                metric="availability",
                unit="1",
                value=None,
                phase=f"after {name}",
                evidence=seen.evidence,
                outcome="error",
                error=NEVER,
            )


def fault_of(happened: Sequence[Happened], begin_s: float) -> Fault | None:
    """Return the first event since the traffic began, and its end; None: there was none."""
    first = next((one for one in happened if one.effective_s >= begin_s and not one.undone), None)
    if first is None:
        return None
    undone = (
        (one.began_s, one.effective_s)
        for one in happened
        if one.undone and (one.do, one.to) == (first.do, first.to) and one.effective_s > first.effective_s
    )
    ending_s, to_s = next(undone, (None, None))
    return Fault(first.began_s, first.effective_s, ending_s, to_s)


def summarise_outage(went: Went, evidence: str) -> Iterator[Measurement]:
    """Give the figures of a trial. Pure."""

    def figure(metric: str, unit: str, value: float | None) -> Measurement:
        return Measurement(probe="availability", metric=metric, unit=unit, value=value, evidence=evidence)

    fault = went.fault
    yield figure("rounds_per_s", "1/s", went.rate_before)
    over_s = went.end_s if fault.ending_s is None else fault.ending_s
    if (share := went.share(fault.from_s, over_s)) is not None:
        yield figure("availability", "1", share)
    if fault.to_s is not None and (share := went.share(fault.to_s, went.end_s)) is not None:
        yield figure("availability_after", "1", share)
    yield figure("coasted_s", "s", went.coasted_s())
    rounds_s, overlay_s = went.rounds_recovery_s(), went.overlay_recovery_s()
    yield figure("rounds_recovery_s", "s", rounds_s)
    yield figure("overlay_recovery_s", "s", overlay_s)
    if overlay_s is not None:
        yield figure("tcp_recovery_s", "s", None if rounds_s is None else max(0.0, rounds_s - overlay_s))


def _ping(target: Target, settings: AvailabilitySettings) -> Daemon:
    words = ["-n", "-D", "-i", f"{settings.interval_ms / 1000:g}", "-s", "56"]
    return target.start(target.src, ["ping", *words, str(target.destination)], "availability-pings.log")
