"""The continuity probe: traffic of every pair through the whole timeline, and what each event did to it."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from harness.errors import OverlayError
from harness.probes import stream_peer
from harness.probes.answers import Answers, longest_gap_s, parse_pings, recovery_s
from harness.probes.contract import Found, Happened, Measurement, Pair, Probe, ProbeSettings, Surroundings, Target
from harness.probes.measurement import figure_of
from harness.results.declared import Chapter, Column, Metric, Plot, Shown, Table

if TYPE_CHECKING:
    from harness.lab.process import Daemon

PORT = 7412
_PEER = (sys.executable, "-I", "-S", str(Path(stream_peer.__file__).resolve()))
_STEP_S = 0.02
_START_S = 10.0


class ContinuitySettings(ProbeSettings):
    """A ping every `interval_ms` over every pair, and one TCP connection that should survive, while the timeline runs.

    The traffic goes on for `duration_s`; the moment at which it has begun is the timeline's zero.
    """

    duration_s: float = Field(default=20.0, gt=0, le=3600)
    interval_ms: float = Field(default=100.0, ge=10, le=10_000)
    payload_bytes: int = Field(default=200, ge=16, le=1200)

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
        return self.duration_s + stream_peer.PATIENCE_S + _START_S

    def conditions(self) -> dict[str, Any]:
        """Return what censors the times: those that never came are censored at the end of the traffic."""
        return {"continuity_s": self.duration_s}


@dataclass(frozen=True)
class Continued:
    """One pair's traffic from `begin_s` to `end_s` (Unix seconds), and what happened meanwhile."""

    begin_s: float
    end_s: float
    answers: Answers
    tcp_survived: bool
    happened: tuple[Happened, ...]


class ContinuityProbe(Probe[ContinuitySettings, Continued]):
    """Traffic over all pairs at once, since an event affects all of them."""

    name = "continuity"
    order = 90
    settings = ContinuitySettings
    needs = frozenset({"interface"})
    turn = "waiting"
    doing = "keeping traffic up"
    at_once = True
    repeatable = False
    minds_lateness = False
    metrics = (
        Metric(
            "event_recovery_s",
            "s",
            "From the moment at which an event took effect to the first answer of a ping sent after it; `phase` names "
            "the event. None: not before the traffic ended.",
            "this project",
            better="lower",
            estimator="censored median",
            min_absolute=0.2,
        ),
        Metric(
            "event_gap_s",
            "s",
            "The longest time without an answer between an event and the next one, or the end of the traffic.",
            "this project",
            better="lower",
            min_absolute=0.2,
        ),
        Metric(
            "continuity_answered_ratio",
            "1",
            "Share of the pings of the whole timeline that were answered.",
            "this project",
            better="higher",
            min_absolute=0.01,
            in_tables=True,
        ),
        Metric(
            "continuity_longest_gap_s",
            "s",
            "The longest time without an answer in the whole timeline.",
            "this project",
            better="lower",
            min_absolute=0.2,
            in_tables=True,
        ),
        Metric(
            "tcp_survives",
            "1",
            "Whether a TCP connection opened before the timeline was alive and answered at its end.",
            "this project",
            better="higher",
            estimator="proportion",
            pairs="all",
            in_tables=True,
        ),
        Metric(
            "continuity_duplicates", "count", "Pings that were answered more than once.", "RFC 5560", better="lower"
        ),
        Metric(
            "continuity_reordered", "count", "Answers that a later ping's answer overtook.", "RFC 4737", better="lower"
        ),
        Metric(
            "event_late_ms",
            "ms",
            "How long after it was due an event took effect in the lab; `phase` names the event.",
            "this project",
            of_instrument=True,
        ),
    )
    shows = Shown(
        chapters=(Chapter("continuity", "What events did", place=40),),
        tables=(Table("continuity", "Continuity", "continuity"),),
        columns=(
            Column("continuity", "longest gap s", "continuity_longest_gap_s"),
            Column("continuity", "answered", "continuity_answered_ratio", "percent"),
            Column("continuity", "TCP survives", "tcp_survives", "count"),
        ),
        plots=(Plot("strip", "continuity", "continuity_longest_gap_s", "Longest time without an answer", label="s"),),
    )

    def measure(self, target: Target, settings: ContinuitySettings, trial: Surroundings) -> Continued:
        """Measure one pair."""
        return self.measure_all([target], settings, trial)[target.pair]

    def measure_all(
        self, targets: Sequence[Target], settings: ContinuitySettings, trial: Surroundings
    ) -> dict[Pair, Continued]:
        """Keep all pairs busy while the timeline runs.

        Raises:
            OverlayError: a pair was silent from the beginning.
            LabError: the kernel or a tool refused an event.
        """
        traffic = [_Traffic(target, settings) for target in targets]
        try:
            for one in traffic:
                one.wait_until_it_flows()
            begin_s = time.time()
            trial.timeline.begin()
            end_s = begin_s + settings.duration_s
            while (left_s := end_s - time.time()) > 0:
                due_s = trial.timeline.poll()
                time.sleep(min(_STEP_S, left_s) if due_s is None else min(_STEP_S, left_s, due_s))
            happened = tuple(trial.timeline.happened)
            return {one.target.pair: one.end(begin_s, end_s, happened) for one in traffic}
        finally:
            for one in traffic:
                one.stop()

    def summarise(self, found: Found[Continued], settings: ContinuitySettings) -> list[Measurement]:
        """Summarise by `summarise_continuity`."""
        del settings
        return list(summarise_continuity(found.target, found.overlay))


class _Traffic:
    """One pair's pings and its connection."""

    def __init__(self, target: Target, settings: ContinuitySettings) -> None:
        self.target = target
        self._interval_s = settings.interval_ms / 1000
        words = ["-n", "-D", "-O", "-i", f"{self._interval_s:g}", "-s", str(settings.payload_bytes)]
        stream = target.stream(PORT)
        serve = [*_PEER, "serve", str(stream.listen_address), str(stream.listen_port)]
        self._server = target.start(target.dst, serve, "continuity-server.log")
        self._daemons: list[Daemon] = [self._server]
        self._pings = target.start(target.src, ["ping", *words, str(target.destination)], "continuity-pings.log")
        self._daemons.append(self._pings)
        seconds = settings.duration_s + _START_S
        self._hold = [*_PEER, "hold", str(stream.connect_address), str(stream.connect_port)]
        self._hold += [str(seconds), str(self._interval_s)]
        self._held: Daemon | None = None

    def wait_until_it_flows(self) -> None:
        """Return once a ping was answered and the connection's server listens.

        Raises:
            OverlayError: nothing was answered.
        """
        if not self._pings.wait_for_line("icmp_seq=.* time=", _START_S):
            raise OverlayError(f"{self.target.src} to {self.target.dst}: no ping was answered within {_START_S:g} s")
        if not self._server.wait_for_line("listening", _START_S):
            raise OverlayError(f"nothing can listen on {self.target.dst}: {self._server.tail.strip()}")
        self._held = self.target.start(self.target.src, self._hold, "continuity-tcp.json")
        self._daemons.append(self._held)

    def end(self, begin_s: float, end_s: float, happened: Sequence[Happened]) -> Continued:
        """Stop the pings, wait for the connection's end, and return what was seen."""
        assert self._held is not None
        self._pings.stop()
        self._held.wait(_START_S + stream_peer.PATIENCE_S)
        self._held.stop()
        answers = parse_pings(self._pings.text)
        survived = _survived(self._held.text, end_s)
        return Continued(begin_s, end_s, answers, survived, tuple(happened))

    def stop(self) -> None:
        """End every process of this pair."""
        for daemon in self._daemons:
            daemon.stop()


def _survived(said: str, end_s: float) -> bool:
    """Tell whether the connection never broke, and was still answered in the traffic's last second or after it."""
    try:
        found = json.loads(said)
    except ValueError:
        return False
    return found["error"] is None and bool(found["answered"]) and found["answered"][-1] > end_s - 1.0


def summarise_continuity(target: Target, seen: Continued) -> Iterator[Measurement]:
    """Yield the figures of a pair; those of an event carry its name as their phase."""
    figure = figure_of(target, "continuity", target.evidence("continuity-pings.log"))
    answered = sum(seen.begin_s <= moment < seen.end_s for moment in seen.answers.sent_s)
    silent = sum(seen.begin_s <= moment < seen.end_s for moment in seen.answers.silent_s)
    answered_s = seen.answers.answered_s
    ends = [*(one.effective_s for one in seen.happened[1:]), seen.end_s]
    for one, end_s in zip(seen.happened, ends, strict=False):
        phase = f"after {'the end of ' if one.undone else ''}{one.do} {one.to}"
        recovery = recovery_s(seen.answers, one.effective_s, seen.end_s)
        yield replace(figure("event_recovery_s", recovery), phase=phase)
        if end_s > one.effective_s:
            gap_s = longest_gap_s(answered_s, one.effective_s, end_s)
            yield replace(figure("event_gap_s", gap_s), phase=phase)
        yield replace(figure("event_late_ms", 1000 * (one.effective_s - one.due_s)), phase=phase)
    if answered + silent:
        yield figure("continuity_answered_ratio", answered / (answered + silent))
    yield figure("continuity_longest_gap_s", longest_gap_s(answered_s, seen.begin_s, seen.end_s))
    yield figure("tcp_survives", float(seen.tcp_survived))
    yield figure("continuity_duplicates", float(seen.answers.duplicates))
    yield figure("continuity_reordered", float(seen.answers.reordered))
