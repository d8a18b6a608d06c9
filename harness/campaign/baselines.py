"""Figures of an overlay next to those that the underlay's own trial of the same cell and repeat gave."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from harness.model.trial import Trial
from harness.results.declared import OfCell
from harness.results.metrics import METRICS, compared_with_cell
from harness.results.record import COUNTED, Record

# By metric, and by direction: which the underlay's own trial measured.
Figures = dict[tuple[str, str | None, str | None], Record]


class Baselines:
    """The underlay's figures by seed, which the trials of one cell and repeat share, and by host.

    Figures of two hosts are never compared.
    """

    def __init__(self, earlier: Iterable[Mapping[str, Any]] = ()) -> None:
        """Begin with the records, as read, of a run that is resumed."""
        self._figures: dict[tuple[int, str | None], Figures] = {}
        metrics = {one.metric for of_probe in compared_with_cell().values() for one in of_probe}
        for line in earlier:
            if line["mode"] == "underlay" and line["metric"] in metrics:
                self._keep([Record(**line)])

    def complete(self, trial: Trial, records: Sequence[Record]) -> list[Record]:
        """Return a trial's records with those that compare them; those of the underlay's own trial are kept instead."""
        asked = [name for name, settings in trial.probes.items() if settings.baseline_of_cell]
        compared = [one for name in asked for one in compared_with_cell()[name]]
        if trial.mode == "underlay":
            metrics = {one.metric for one in compared}
            self._keep([record for record in records if record.metric in metrics])
            return list(records)
        there = (trial.seed, records[-1].host if records else None)
        return against_cell(records, self._figures.get(there, {}), compared)

    def is_elsewhere(self, seed: int, host: str) -> bool:
        """Tell whether a cell's underlay has figures, but none of this host."""
        hosts = {there for of, there in self._figures if of == seed}
        return bool(hosts) and host not in hosts

    def _keep(self, records: Sequence[Record]) -> None:
        for figure, record in figures_that_count(records).items():
            self._figures.setdefault((record.seed, record.host), {})[figure] = record


def figures_that_count(records: Sequence[Record]) -> Figures:
    """Return the records that have a value and count, by metric and direction."""
    return {(r.metric, r.src, r.dst): r for r in records if r.value is not None and r.outcome in COUNTED}


def against_cell(records: Sequence[Record], underlay: Figures, compared: Sequence[OfCell]) -> list[Record]:
    """Return the records, each compared one followed by the underlay's of the same cell and the ratio of the two.

    The underlay's keeps its own trial's evidence.
    """
    rules = {one.metric: one for one in compared}
    completed: list[Record] = []
    for record in records:
        completed.append(record)
        rule, below = rules.get(record.metric), underlay.get((record.metric, record.src, record.dst))
        if rule is not None and record.value is not None and below is not None and below.value:
            completed.append(replace(record, metric=rule.underlay, value=below.value, evidence=below.evidence))
            ratio = record.value / below.value
            completed.append(replace(record, metric=rule.ratio, unit=METRICS[rule.ratio].unit, value=ratio))
    return completed
