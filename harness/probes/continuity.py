"""The continuity probe: traffic of every pair through the whole timeline, and what each event did to it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from pydantic import Field

from harness.probes.continuityfigures import Continued, figures_of, figures_of_trial
from harness.probes.contract import (
    Chapter,
    Column,
    Found,
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
from harness.probes.pings import HEADERS_BYTES

_GRACE_S = 70.0
_EVENT = "; `phase` names the event"


class ContinuitySettings(ProbeSettings):
    """Traffic over every pair, and one TCP connection that should survive, while the timeline runs.

    A ping is sent every `interval_ms`. Each has a size of its own, up to `payload_bytes`, by which its path is told.
    Over an overlay that carries only streams, the probe sends a request on a fresh connection instead, which has one
    second for its answer. The traffic lasts for `duration_s`, and its start is the timeline's zero. For `idle_s` before
    that, nothing is sent over the overlay.
    """

    drives_timeline: ClassVar[bool] = True
    tells_direct: ClassVar[bool] = True

    duration_s: float = Field(default=20.0, gt=0, le=3600)
    interval_ms: float = Field(default=100.0, ge=2, le=10_000)
    payload_bytes: int = Field(default=1172, ge=700, le=1400)
    idle_s: float = Field(default=0.0, ge=0, le=3600)

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
        return self.idle_s + self.duration_s + _GRACE_S

    def traffic_s(self) -> float:
        """Return how long the traffic goes on."""
        return self.duration_s

    def conditions(self) -> dict[str, Any]:
        """Give the end of the traffic, where times that never came are censored."""
        return {"continuity_s": self.duration_s, **({"idle_s": self.idle_s} if self.idle_s else {})}


class ContinuityProbe(Probe[ContinuitySettings, Continued]):
    """Traffic over all pairs at once, since an event affects all of them."""

    name = "continuity"
    order = 90
    settings = ContinuitySettings
    needs = frozenset({"interface", "stream"})
    turn = "waiting"
    doing = "keeping traffic up"
    at_once = True
    repeatable = False
    minds_lateness = False
    with_absent = True
    is_gate = True
    metrics = (
        Metric(
            "event_recovery_s",
            "s",
            f"From the moment at which an event took effect to the first answer of a ping sent after it{_EVENT}. "
            "Censored if there was none before the next event (which may be this event's own end) or the end of the "
            "traffic.",
            "this project",
            better="lower",
            estimator="censored median",
            min_absolute=0.2,
            by_phase=True,
        ),
        Metric(
            "event_path_recovery_s",
            "s",
            "From an event to the answer of the first ping after it that took the path (direct or relayed) that the "
            f"pair's pings took before the first event{_EVENT}. Censored if there was none before the next event or "
            "the end of the traffic.",
            "this project",
            better="lower",
            estimator="censored median",
            min_absolute=0.2,
            by_phase=True,
        ),
        Metric(
            "event_tcp_recovery_s",
            "s",
            "From an event to the first answer of a request sent after it on the TCP connection that was opened "
            f"before the timeline{_EVENT}. Censored if there was none before the next event or the end of the "
            "traffic, or if the connection broke.",
            "this project",
            better="lower",
            estimator="censored median",
            min_absolute=0.2,
            by_phase=True,
        ),
        Metric(
            "event_gap_s",
            "s",
            "The longest time without an answer between the moment at which an event took effect and the start of "
            "the next one (or the end of the traffic). A gap that is still open then counts once it is longer than "
            "all that ended; the value is then censored.",
            "this project",
            better="lower",
            estimator="censored median",
            min_absolute=0.2,
            by_phase=True,
        ),
        Metric(
            "phase_answered_ratio",
            "1",
            "Share of answered pings among those sent before the first event, or between an event and the next. "
            "Pings sent while an event is being carried out belong to neither. `path` is that of the last ten "
            "answered, or `none` if the last two seconds had no answer.",
            "this project",
            better="higher",
            min_absolute=0.01,
            by_phase=True,
        ),
        Metric("phase_lost", "count", f"Pings that were never answered{_EVENT}.", "RFC 2680", better="lower"),
        Metric("phase_duplicates", "count", f"Pings answered more than once{_EVENT}.", "RFC 5560", better="lower"),
        Metric(
            "phase_reordered",
            "count",
            f"Answers that the answer of a later ping overtook{_EVENT}.",
            "RFC 4737",
            better="lower",
        ),
        Metric(
            "continuity_answered_ratio",
            "1",
            "Share of answered pings in the whole timeline.",
            "this project",
            better="higher",
            min_absolute=0.01,
            in_tables=True,
        ),
        Metric(
            "continuity_longest_gap_s",
            "s",
            "The longest time without an answer in the whole timeline. A gap that is still open when the traffic "
            "ends counts once it is longer than all that ended; the value is then censored.",
            "this project",
            better="lower",
            estimator="censored median",
            min_absolute=0.2,
            in_tables=True,
        ),
        Metric(
            "tcp_survives",
            "1",
            "Whether a TCP connection that was opened before the timeline still answered at its end.",
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
            "continuity_reordered",
            "count",
            "Answers that the answer of a later ping overtook.",
            "RFC 4737",
            better="lower",
        ),
        Metric(
            "idle_first_answer_s",
            "s",
            "From the first ping after `idle_s` without traffic to the first answer. Censored if there was none "
            "within 10 s; the trial has then failed.",
            "this project",
            better="lower",
            estimator="censored median",
            min_absolute=0.05,
            in_tables=True,
        ),
        Metric(
            "event_at_s",
            "s",
            "When an event took effect, in seconds since the traffic began; `phase` names the event.",
            "this project",
            of_instrument=True,
            by_phase=True,
        ),
        Metric(
            "event_late_ms",
            "ms",
            "Delay between the time at which an event was due and its effect in the lab; `phase` names the event.",
            "this project",
            of_instrument=True,
        ),
    )
    shows = Shown(
        chapters=(Chapter("continuity", "Effects of events", place=40),),
        tables=(
            Table(
                "continuity",
                "Continuity of traffic",
                "continuity",
                "Medians. open: the gap had not ended when the traffic ended.",
            ),
            Table(
                "events",
                "Event by event",
                "continuity",
                "Medians. >: not before the traffic ended. open: the gap lasted into the next event. Path: the one "
                "at the end of the phase. Right path: the one before the first event.",
                by_phase=True,
            ),
        ),
        columns=(
            Column("continuity", "longest gap (s)", "continuity_longest_gap_s", "gap"),
            Column("continuity", "answered", "continuity_answered_ratio", "percent"),
            Column("continuity", "TCP survives", "tcp_survives", "count"),
            Column("continuity", "first answer after idling (s)", "idle_first_answer_s", "gap"),
            Column("events", "at (s)", "event_at_s", digits=1),
            Column("events", "path", "phase_answered_ratio", "path"),
            Column("events", "answered", "phase_answered_ratio", "percent"),
            Column("events", "longest gap (s)", "event_gap_s", "gap"),
            Column("events", "answer after (s)", "event_recovery_s", "time"),
            Column("events", "right path after (s)", "event_path_recovery_s", "time"),
            Column("events", "TCP after (s)", "event_tcp_recovery_s", "time"),
        ),
        plots=(
            Plot(
                "timeline",
                "continuity",
                "phase_answered_ratio",
                "Round-trip times and paths through the timeline",
                name="timeline",
            ),
            Plot(
                "strip",
                "continuity",
                "continuity_longest_gap_s",
                "Longest time without an answer",
                label="(s)",
            ),
        ),
    )

    def measure(self, target: Target, settings: ContinuitySettings, trial: Surroundings) -> Continued:
        """Measure one pair."""
        return self.measure_all([target], settings, trial)[target.pair]

    def measure_all(
        self, targets: Sequence[Target], settings: ContinuitySettings, trial: Surroundings
    ) -> dict[Pair, Continued]:
        """See `harness.probes.traffic`."""
        # It works in a lab; this module is read by reports as well.
        from harness.probes.traffic import Plan, keep_traffic_up  # noqa: PLC0415

        largest_bytes = settings.payload_bytes + HEADERS_BYTES[4]
        plan = Plan(settings.duration_s, settings.interval_ms / 1000, largest_bytes, settings.idle_s)
        return keep_traffic_up(targets, plan, trial)

    def summarise(self, found: Found[Continued], settings: ContinuitySettings) -> Iterable[Measurement]:
        """See `figures_of`."""
        del settings
        return figures_of(found.target, found.overlay)

    def summarise_trial(self, found: Sequence[Found[Continued]], settings: ContinuitySettings) -> Iterable[Measurement]:
        """See `figures_of_trial`: the timeline is that of all pairs."""
        del settings
        return figures_of_trial(found[0].overlay)
