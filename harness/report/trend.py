"""A history's changes as Markdown, JSON and CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from harness.report.comparison import cells_text, change_text, interval_text, number, plain_json
from harness.report.markup import to_markdown
from harness.report.tables import TextTable
from harness.results.series import Series
from harness.results.trend import FEWEST_SEARCHED_POINTS, Finding, Trend

_HEADER = (
    *("subject", "metric", "verdict", "when", "change", "95 % interval", "before", "after"),
    *("p (Holm)", "trials", "cells"),
)
_NUMERIC = frozenset({4, 5, 6, 7, 8})
# `python -m bench.trend_power` measures it; docs/trend.md has what was measured.
FALSE_ALARMS = (
    "Alpha limits the false-alarm rate: how often a history without any change may fail, if its runs differ only by "
    "chance or in ways that the underlay shows as well. Up to five points do not show how far runs differ beyond that "
    "(docs/trend.md). Before you rely on a result, measure each point in several runs, alternating between points."
)
_TOLD = frozenset({"regression", "improvement", "worse, not yet certain"})


def verdict_line(trend: Trend, standing: Sequence[Finding]) -> str:
    """Return the verdict in a few sentences; `standing` are the regressions that count."""
    alpha = f"at alpha = {trend.rule.alpha:g} after Holm's correction over {trend.judged} series"
    if not trend.judged:
        return "Nothing was judged: no overlay has two points with a measurement in common."
    undone = sum(one.change.verdict == "regression" and not one.standing for one in trend.findings)
    if standing:
        plural = "s" if len(standing) > 1 else ""
        found = f"{len(standing)} regression{plural} {alpha}."
    elif trend.silent == trend.judged:
        found = "Nothing was judged: there are too few trials to show any change."
    else:
        found = f"No regression found {alpha}. That does not mean that nothing changed."
    if few := sum(one.too_few_runs and one.change.verdict == "worse, not yet certain" for one in trend.findings):
        found += (
            f" {few} more change{'s' if few > 1 else ''} for the worse {'are' if few > 1 else 'is'} uncertain, because "
            "there are too few runs: measure each point in several runs, alternating between points."
        )
    if undone:
        found += f" {undone} earlier regression{'s have' if undone > 1 else ' has'} been undone since."
    if 0 < trend.silent < trend.judged:
        found += (
            f" {trend.silent} of {trend.judged} series had too few trials, or no variation, and could not "
            "show any change."
        )
    if any(one.alone for one in standing):
        found += " A change that only one point shows may be a peculiarity of that run: run it again to confirm."
    return found


def remarks(trend: Trend) -> list[str]:
    """Return what a reader must know to judge the trend."""
    history = trend.history
    lines = [f"{len(history.runs)} runs, grouped into points by {history.by}"]
    for axis in history.axes:
        count = len(axis.points)
        if count > 1:
            way = (
                "searched for change points and drifts"
                if count >= FEWEST_SEARCHED_POINTS
                else "compared with the tests of `compare`"
            )
            lines.append(f"{', '.join(axis.overlays)}: {count} points, {axis.points[0]} to {axis.points[-1]}, {way}")
    if trend.single:
        lines.append(f"no history, because there is only one point: {', '.join(trend.single)}")
    machines = sorted({one.machine for one in trend.series if one.machine})
    if machines:
        lines.append(
            f"figures that depend on the machine are followed on each machine separately: {'; '.join(machines)}"
        )
    return [*lines, *history.remarks]


def findings_table(findings: Sequence[Finding], title: str) -> TextTable:
    """Return findings as text."""
    rows = [
        (
            one.change.subject + (f" ({one.machine})" if one.machine else ""),
            one.change.what,
            verdict_text(one),
            when_text(one),
            change_text(one.change),
            interval_text(one.change),
            number(one.change.base, one.change),
            number(one.change.new, one.change),
            f"{one.change.p_corrected:.2g}",
            "/".join(map(str, one.change.trials)),
            cells_text(one.change),
        )
        for one in findings
    ]
    return TextTable(title, _HEADER, tuple(rows), _NUMERIC)


def verdict_text(finding: Finding) -> str:
    """Return the verdict, and whether it still holds."""
    verdict: str = finding.change.verdict
    if verdict == "regression" and not finding.standing:
        return "regression, undone since"
    if finding.too_few_runs:
        return f"{verdict} (too few runs)"
    return f"{verdict}, one point only" if finding.alone and verdict in {"regression", "improvement"} else verdict


def when_text(finding: Finding) -> str:
    """Return when it happened."""
    if finding.kind == "drift":
        return f"drift from {finding.before} to {finding.at}"
    low, high = finding.between
    unsure = "" if (low, high) == (finding.before, finding.at) else f" (95 %: {low} to {high})"
    return f"{finding.before} to {finding.at}{unsure}"


def to_summary(trend: Trend, standing: Sequence[Finding], plots: Sequence[tuple[str, str]] = ()) -> str:
    """Return Markdown: the verdict, what changed, all the rest folded away; `plots` are titles and files."""
    told = [one for one in trend.findings if one.change.verdict in _TOLD]
    rest = [one for one in trend.findings if one not in told]
    parts = ["## overlaybench: trend", verdict_line(trend, standing)]
    parts.append("\n".join(f"- {line}" for line in remarks(trend)))
    if told:
        parts.append(to_markdown(findings_table(told, "Changes")).rstrip())
    if rest:
        table = to_markdown(findings_table(rest, "Not reported as changes")).rstrip()
        parts.append(
            f"<details><summary>{len(rest)} found, but not reported as changes</summary>\n\n{table}\n\n</details>"
        )
    parts += [f"![{title}]({file})" for title, file in plots]
    parts.append(
        "Before and after are medians over cells (of rates the means), of the runs next to the change. " + FALSE_ALARMS
    )
    return "\n\n".join(parts) + "\n"


def to_json(trend: Trend, standing: Sequence[Finding]) -> dict[str, Any]:
    """Return the trend as JSON-ready data; numbers that JSON lacks are as in a comparison's."""
    return {
        "regressions": len(standing),
        "verdict": verdict_line(trend, standing),
        "alpha": trend.rule.alpha,
        "by": trend.history.by,
        "series": trend.judged,
        "series_without_power": trend.silent,
        "points": {overlay: list(axis.points) for axis in trend.history.axes for overlay in axis.overlays},
        "remarks": remarks(trend),
        "findings": [
            {
                "kind": one.kind,
                "machine": one.machine,
                "before": one.before,
                "at": one.at,
                "between": list(one.between),
                "one_point_alone": one.alone,
                "standing": one.standing,
                "too_few_runs": one.too_few_runs,
                **plain_json(asdict(one.change)),
            }
            for one in trend.findings
        ],
    }


_COLUMNS = ("subject", "metric", "unit", "phase", "machine", "cell", "point", "run", "trials", "value")


def to_csv(series: Sequence[Series], runs: Sequence[str]) -> str:
    """Return a row per series, cell and session: its trials and their median (rate for successes); `late`: censored."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for one in series:
        same = one.subject, one.metric, one.unit, one.phase, one.machine
        for cell, values in zip(one.parts, one.matrix.T, strict=True):
            for session in np.flatnonzero(~np.isnan(values)):
                place, folder = one.axis.sessions[session], one.axis.folders[session]
                trials = len(np.unique(cell.trials[cell.sessions == session]))
                value = "late" if np.isinf(values[session]) else f"{values[session]:.6g}"
                writer.writerow([*same, cell.name, one.axis.points[place], runs[folder], trials, value])
    return out.getvalue()
