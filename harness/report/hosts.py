"""The chapter on the hosts of a run: which they were, how much their figures differ, which cells ran on one only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from harness.report.order import subject_name
from harness.report.tables import TextTable
from harness.results.hosts import HostEffect, effects, seen_on_one, seen_once, unit
from harness.results.loading import Results


@dataclass(frozen=True)
class HostsChapter:
    """Sentences and tables."""

    sentences: list[str]
    tables: list[TextTable]


def hosts_chapter(results: Results) -> HostsChapter | None:
    """Return the chapter; None where one host ran all trials, or none is known, and no host was refused or lost."""
    trials, manifest = results.trials, results.manifest
    if trials.empty or "host" not in trials:
        return None
    counts = {str(host): int(count) for host, count in trials["host"].value_counts().items() if host}
    if not counts or (len(counts) < 2 and not manifest.get("hosts_refused") and not manifest.get("hosts_lost")):
        return None
    facts: Mapping[str, Any] = manifest.get("hosts") or {}
    names = {host: str((facts.get(host) or {}).get("name") or host) for host in sorted(counts)}
    sentences = [*_dealt(results, names), *_went_wrong(manifest, names)]
    found = effects(results.pairs)
    tables = [_who(names, counts, facts), *([_spread(found, names)] if found else [])]
    return HostsChapter(sentences, tables)


def _dealt(results: Results, names: Mapping[str, str]) -> Iterator[str]:
    """Yield how the trials were distributed over the hosts, and where a difference may be due to the host."""
    if len(names) == 1:
        yield f"{_count(len(results.trials), 'trial')} ran on one host, {next(iter(names.values()))}."
        return
    yield (
        f"{len(results.trials)} trials ran on {len(names)} hosts. All overlays of a condition and repeat ran on the "
        "same host, so that a difference between overlays is never a difference between hosts."
    )
    alone, repeated = seen_on_one(results.pairs)
    if alone:
        yield (
            f"{alone} of {repeated} cells with several repeats ran on one host only, so that the host's influence on "
            "their figures is unknown."
        )
    if once := seen_once(results.pairs):
        yield (
            f"{_count(once, 'cell')} had a single trial each: a difference between two such cells (of two NATs, for "
            "example) may be a difference between hosts."
        )


def _went_wrong(manifest: Mapping[str, Any], names: Mapping[str, str]) -> Iterator[str]:
    """Yield which hosts were refused, were lost, or ran no trial."""
    refused = manifest.get("hosts_refused") or {}
    if never := {name: why for name, why in refused.items() if name not in names.values()}:
        yield f"Hosts that were refused: {_reasons(never)}."
    if later := {name: why for name, why in refused.items() if name in names.values()}:
        yield f"Hosts that were refused for part of the run: {_reasons(later)}."
    facts = manifest.get("hosts") or {}
    # Only hosts that were admitted have a calibration, which may be empty.
    idle = [str(one.get("name") or key) for key, one in facts.items() if key not in names and "calibration" in one]
    if idle := [name for name in idle if name not in names.values()]:
        yield f"Hosts that were admitted but ran no trial: {', '.join(idle)}."
    if lost := manifest.get("hosts_lost"):
        trials = len({one.get("trial") for one in lost})
        often = f", {len(lost)} times in all" if len(lost) > trials else ""
        which = "it" if trials == 1 else "them"
        yield f"{_count(trials, 'trial')} lost the host that ran {which}{often}, and had to be repeated."


def _reasons(refused: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {why}" for name, why in refused.items())


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _who(names: Mapping[str, str], counts: Mapping[str, int], facts: Mapping[str, Any]) -> TextTable:
    rows = []
    for host, name in names.items():
        one = facts.get(host) or {}
        machine, calibration = one.get("machine") or {}, one.get("calibration") or {}
        late = calibration.get("lateness_p99_us")
        rows.append(
            (
                name,
                str(counts[host]),
                f"{machine.get('cpus', '?')} x {machine.get('cpu_model', '?')}",
                str(machine.get("kernel", "?")),
                _number(machine.get("load_1min")),
                _number(late),
            )
        )
    header = ("host", "trials", "processors", "kernel", "load at the start", "link lateness p99 (us)")
    return TextTable("Hosts", header, tuple(rows), frozenset({1, 4, 5}))


def _spread(found: list[HostEffect], names: Mapping[str, str]) -> TextTable:
    rows = [
        (
            subject_name(*one.subject) + (f", {one.path}" if one.path else ""),
            f"{one.metric} ({unit(one.metric)})",
            *(_number(one.by_host.get(host)) for host in names),
            f"{100 * one.spread:.0f} %",
            _within(one),
        )
        for one in found
    ]
    header = ("overlay", "metric", *names.values(), "spread", "minus underlay, same host")
    note = (
        "Median on each host, over the cells that ran on several hosts. Spread: the largest minus the smallest of "
        "the hosts' typical deviations from a cell's median. Last column: median of overlay minus underlay, paired "
        "by block on the same host; for a single cell with its interval."
    )
    return TextTable("Differences between hosts", header, tuple(rows), frozenset(range(2, len(header))), note)


def _within(one: HostEffect) -> str:
    if one.within is None or not one.within.n:
        return "-"
    low, high = one.within.low, one.within.high
    interval = f" [{_number(low)}, {_number(high)}]" if math.isfinite(low) and math.isfinite(high) else ""
    return f"{_number(one.within.value)}{interval} (n={one.within.n})"


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) and math.isfinite(value) else "-"
