"""The continuity probe's figures: of the whole timeline, and of what followed each event by itself. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.probes.answers import (
    Asked,
    answered_s,
    between,
    longest_gap,
    path_at,
    path_recovery_s,
    recovery_s,
    reordered,
)
from harness.probes.contract import Happened
from harness.probes.measurement import Measurement, Target
from harness.results.declared import NEVER

if TYPE_CHECKING:
    from harness.model.words import Outcome, Verdict


@dataclass(frozen=True)
class Held:
    """The connection that should survive: its questions, the last of which may have stayed without answer.

    `error` is what broke it, None where nothing did.
    """

    asked: tuple[Asked, ...]
    error: str | None


@dataclass(frozen=True)
class AfterIdle:
    """How long the first question after a silence took to be answered; None: it was not within `patience_s`."""

    first_answer_s: float | None
    patience_s: float


@dataclass(frozen=True)
class Continued:
    """One pair's traffic from `begin_s` to `end_s` (Unix seconds), and what happened meanwhile.

    `twice` are when the pings were sent that were answered more than once, None where nothing is numbered: of streams.
    `held` is None where one of the two members was not there at the beginning. `after_idle` is None where there was no
    silence before (`idle_s`), or a member not yet there. `never` are events that it never came to.
    """

    begin_s: float
    end_s: float
    asked: tuple[Asked, ...]
    twice: tuple[float, ...] | None
    held: Held | None
    happened: tuple[Happened, ...]
    never: tuple[str, ...] = ()
    after_idle: AfterIdle | None = None


@dataclass(frozen=True)
class Phase:
    """What lies between two events, `event` being the earlier, or None before the first.

    It begins when that one took effect and ends when the next begins to be done: while an event is being done nobody
    can say which side of it a packet met, so that time is of no phase.
    """

    name: str
    begin_s: float
    end_s: float
    event: Happened | None


def phases_of(happened: Sequence[Happened], begin_s: float, end_s: float) -> list[Phase]:
    """Return the time before the first event and after each until the next; none where nothing happened."""
    if not happened:
        return []
    first = happened[0].began_s
    phases = [Phase(f"before {happened[0].do} {happened[0].to}", begin_s, max(begin_s, first), None)]
    ends = [*(one.began_s for one in happened[1:]), end_s]
    seen: Counter[str] = Counter()
    for one, end in zip(happened, ends, strict=True):
        name = f"after {'the end of ' if one.undone else ''}{one.do} {one.to}"
        seen[name] += 1
        name += f" #{seen[name]}" if seen[name] > 1 else ""
        phases.append(Phase(name, max(begin_s, one.effective_s), end, one))
    return phases


def survived(held: Held, end_s: float) -> bool:
    """Tell whether the connection never broke, and was still answered in the traffic's last second or after it."""
    moments = answered_s(held.asked)
    return held.error is None and bool(moments) and moments[-1] > end_s - 1.0


def figures_of(target: Target, seen: Continued) -> Iterator[Measurement]:
    """Yield one pair's figures; those of an event carry its name as their phase."""
    evidence = str(target.evidence("continuity.csv"))

    def figure(
        metric: str, unit: str, value: float | None, phase: str | None = None, path: Verdict | None = None
    ) -> Measurement:
        return Measurement(
            probe="continuity",
            metric=metric,
            unit=unit,
            value=value,
            src=target.src,
            dst=target.dst,
            path=path,
            evidence=evidence,
            phase=phase,
        )

    phases = phases_of(seen.happened, seen.begin_s, seen.end_s)
    right = path_at(seen.asked, seen.begin_s, phases[0].end_s) if phases else None
    for phase in phases:
        inside = between(seen.asked, phase.begin_s, phase.end_s)
        path = path_at(seen.asked, phase.begin_s, phase.end_s)
        if inside:
            share = len(answered_s(inside)) / len(inside)
            yield figure("phase_answered_ratio", "1", share, phase.name, path)
            yield figure("phase_lost", "count", len(inside) - len(answered_s(inside)), phase.name, path)
            if seen.twice is not None:
                again = sum(phase.begin_s <= sent < phase.end_s for sent in seen.twice)
                yield figure("phase_duplicates", "count", again, phase.name, path)
                yield figure("phase_reordered", "count", reordered(inside), phase.name, path)
        if phase.event is None:
            continue
        # What the next event brought back, its own undoing say, did not come back by itself: as with gaps.
        since, until = phase.event.effective_s, phase.end_s
        yield figure("event_recovery_s", "s", recovery_s(seen.asked, since, until), phase.name, path)
        if right in ("direct", "relayed"):
            again_s = path_recovery_s(seen.asked, right, since, until)
            yield figure("event_path_recovery_s", "s", again_s, phase.name, path)
        if seen.held is not None:
            yield figure("event_tcp_recovery_s", "s", recovery_s(seen.held.asked, since, until), phase.name, path)
        if (gap := longest_gap(seen.asked, phase.begin_s, phase.end_s)) is not None:
            yield figure("event_gap_s", "s", gap.value_s, phase.name, path)
    whole = between(seen.asked, seen.begin_s, seen.end_s)
    if whole:
        yield figure("continuity_answered_ratio", "1", len(answered_s(whole)) / len(whole))
    if (gap := longest_gap(seen.asked, seen.begin_s, seen.end_s)) is not None:
        yield figure("continuity_longest_gap_s", "s", gap.value_s)
    if seen.held is not None:
        yield figure("tcp_survives", "1", float(survived(seen.held, seen.end_s)))
    if seen.twice is not None:
        yield figure("continuity_duplicates", "count", float(len(seen.twice)))
        yield figure("continuity_reordered", "count", float(reordered(whole)))
    if seen.after_idle is not None:
        yield _first_answer(figure("idle_first_answer_s", "s", seen.after_idle.first_answer_s), seen.after_idle)


def _first_answer(bare: Measurement, after_idle: AfterIdle) -> Measurement:
    """Return the figure; of a pair that stayed silent it is censored, and ends the trial."""
    if after_idle.first_answer_s is not None:
        return bare
    why = f"{bare.src} to {bare.dst}: nothing was answered within {after_idle.patience_s:g} s after idling"
    return replace(bare, outcome="failed", path="none", error=why)


def figures_of_trial(seen: Continued) -> Iterator[Measurement]:
    """Yield when each event took effect, and which ones it never came to."""

    def figure(metric: str, unit: str, value: float | None, phase: str, error: str | None = None) -> Measurement:
        outcome: Outcome = "ok" if error is None else "error"
        return Measurement(
            probe="continuity", metric=metric, unit=unit, value=value, phase=phase, outcome=outcome, error=error
        )

    for phase in phases_of(seen.happened, seen.begin_s, seen.end_s):
        if phase.event is not None:
            yield figure("event_at_s", "s", phase.event.effective_s - seen.begin_s, phase.name)
            yield figure("event_late_ms", "ms", 1000 * (phase.event.effective_s - phase.event.due_s), phase.name)
    for name in seen.never:
        yield figure("event_at_s", "s", None, f"after {name}", NEVER)
