"""From a worker's report to records. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from harness.model.trial import Trial
from harness.model.words import SEEKING_DIRECT
from harness.overlay.contract import Overlay, ReportsPath
from harness.results.metrics import METRICS, planned
from harness.results.record import COUNTED, Record
from harness.topology.labels import link_label, nat_label, telling_routers
from harness.trial.messages import Done


@dataclass(frozen=True)
class Context:
    """What all records of a trial share besides the trial itself."""

    run: str
    host: str
    overlay: Overlay
    overlay_version: str | None
    started_at: str


def records_of(trial: Trial, done: Done, duration_s: float, context: Context) -> list[Record]:
    """Return all records of a trial, the terminating one (probe `trial`, metric `duration_s`) last.

    A failed trial still counts in its success rates and times: planned connections that were never measured are zeros,
    and their times are censored. What a trial measured before it turned out to be invalid (or an error) is kept with
    that outcome, and does not count.
    """
    shared = _shared(trial, done, context)
    spoilt = {} if done.outcome in COUNTED else {"outcome": done.outcome}
    records = [
        Record(
            **shared,
            **{
                **measurement,
                "pair": _pair(trial, done, measurement.get("src"), measurement.get("dst")),
                "evidence": f"trials/{trial.id}/{measurement['evidence']}" if measurement.get("evidence") else None,
                "path_claimed": _claim(context.overlay, measurement, done),
                **spoilt,
            },
        )
        for measurement in done.measurements
    ]
    if done.outcome == "failed":
        records += _never_measured(trial, done, shared, {(r.metric, r.src, r.dst) for r in records})
    evidence = f"trials/{trial.id}"
    records.append(
        Record(
            **shared,
            pair=_pair(trial, done, None, None),
            probe="trial",
            metric="duration_s",
            unit="s",
            value=duration_s,
            outcome=done.outcome,
            error=done.error,
            evidence=evidence,
        )
    )
    return records


def _shared(trial: Trial, done: Done, context: Context) -> dict[str, Any]:
    first, second = (*trial.topology.members, *(None, None))[:2]
    return {
        "run": context.run,
        "scenario": trial.scenario,
        "trial": trial.id,
        "repeat": trial.repeat,
        "seed": trial.seed,
        **trial.cell,
        "overlay_version": context.overlay_version,
        "nat_a_observed": _observed(trial, done, first),
        "nat_b_observed": _observed(trial, done, second),
        "link_backend": done.link_backend,
        "link_accounts": done.link_accounts,
        "host": context.host,
        "layer": context.overlay.layer,
        "started_at": context.started_at,
    }


def _pair(trial: Trial, done: Done, src: str | None, dst: str | None) -> dict[str, Any]:
    """Return what is in front of the two members of a pair, or of all of them."""
    named = [name for name in (src, dst) if name in trial.topology.members]
    return {
        member: {
            "nat": nat_label(trial.topology, member),
            "link": link_label(trial.topology, member),
            "nat_observed": _observed(trial, done, member),
        }
        for member in named or trial.topology.members
    }


def _observed(trial: Trial, done: Done, member: str | None) -> str | None:
    if member is None:
        return None
    names = [name for name in telling_routers(trial.topology, member) if name in done.nat_observed]
    return "+".join(done.nat_observed[name] for name in names) or None


def _claim(overlay: Overlay, measurement: dict[str, Any], done: Done) -> str | None:
    src, dst = measurement["src"], measurement["dst"]
    # What is said of all pairs together no product claims.
    if measurement["probe"] != "path" or src is None or dst is None or not isinstance(overlay, ReportsPath):
        return None
    return overlay.claimed_path(src, dst, done.claims)


def _never_measured(
    trial: Trial, done: Done, shared: dict[str, Any], measured: set[tuple[str, str | None, str | None]]
) -> list[Record]:
    if trial.probes.path is None:
        return []
    members = trial.topology.members
    pairs: list[tuple[str | None, str | None]] = [(a, b) for i, a in enumerate(members) for b in members[i + 1 :]]
    wanted = [
        (metric, src, dst)
        for metric, of_each in planned(trial.mode in SEEKING_DIRECT, len(pairs))
        for src, dst in (pairs if of_each else [(None, None)])
    ]
    return [
        Record(
            **shared,
            probe="path",
            metric=metric,
            unit=METRICS[metric].unit,
            # Time that did not come is censored at the deadline: it has no value.
            value=None if METRICS[metric].estimator == "censored median" else 0.0,
            outcome="failed",
            path=None if src is None else "none",
            src=src,
            dst=dst,
            pair=_pair(trial, done, src, dst),
            error=done.error,
            evidence=f"trials/{trial.id}",
        )
        for metric, src, dst in wanted
        if (metric, src, dst) not in measured
    ]
