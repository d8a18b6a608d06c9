"""A metric's values over a history: sessions, cells and series.

A *session* is what one result folder has of one point. Trials of one session share whatever the machine was like
then, so that a session is a sample of its own beside its trials. A *series* is a metric of one subject (overlay and
mode), and of one kind of machine where its figures depend on that. Its cells (NAT pairs, paths) are never pooled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from harness.results.distributions import MOST_COUNTED
from harness.results.matching import Sample
from harness.results.metrics import metric_of
from harness.results.ranks import Cell
from harness.results.statistics import Floats, as_floats, middle


@dataclass(frozen=True)
class Axis:
    """The points of some overlays, the oldest first: those have the same points in the same folders.

    `sessions` has the point of each session, by its place in `points`; `folders` the folder of each, by its place in
    the history.
    """

    overlays: tuple[str, ...]
    points: tuple[str, ...]
    sessions: tuple[int, ...]
    folders: tuple[int, ...]

    def sessions_of(self, first: int, end: int) -> np.ndarray:
        """Return the sessions of the points from `first` to before `end`."""
        at = np.asarray(self.sessions)
        return np.flatnonzero((at >= first) & (at < end))


@dataclass(frozen=True)
class HistoryCell:
    """One cell of a series: value, trial, pair of members and session of each measurement; inf: censored.

    `pair_names` are those of the pairs by their number in `pairs`, on each of their paths where they took several;
    empty where trials have one pair.
    """

    name: str
    values: Floats
    trials: np.ndarray
    pairs: np.ndarray
    sessions: np.ndarray
    pair_names: tuple[str, ...] = ()

    @cached_property
    def parts(self) -> tuple[HistoryCell, ...]:
        """A cell for each pair of members and path that has a name; this one alone where none has."""
        if not self.pair_names:
            return (self,)
        found = []
        for number, name in enumerate(self.pair_names):
            rows = self.pairs == number
            parts = (self.trials[rows], self.pairs[rows], self.sessions[rows])
            found.append(HistoryCell(f"{self.name}, {name}", as_floats(self.values[rows]), *parts))
        return tuple(found)

    def between(self, base: Sequence[int] | np.ndarray, new: Sequence[int] | np.ndarray) -> Cell | None:
        """Return the cell as two groups of sessions see it, by what both measured; None where there is nothing.

        Taken are no more trials than can be tested exactly (`harness.results.distributions`): of a long history those
        of the sessions next to the other group.
        """
        sides = self._taken(base, new)
        if sides is None:
            return None
        is_new = np.isin(self.sessions, sides[1])
        kept = is_new | np.isin(self.sessions, sides[0])
        names = np.asarray(self.pair_names, dtype=object)
        if self.pair_names:
            shared = np.intersect1d(self.pairs[is_new], self.pairs[kept & ~is_new])
            kept &= np.isin(self.pairs, shared)
            names = names[shared]
            if not shared.size:
                return None
        pairs = np.unique(self.pairs[kept], return_inverse=True)[1]
        return Cell(self.name, self.values[kept], self.trials[kept], pairs, is_new[kept], tuple(names))

    def sizes(self, base: Sequence[int] | np.ndarray, new: Sequence[int] | np.ndarray) -> tuple[int, int]:
        """Return how many trials of either group `between` takes; 0 and 0 where one has nothing of the cell."""
        sides = self._taken(base, new)
        return (0, 0) if sides is None else (self._count(sides[0]), self._count(sides[1]))

    @cached_property
    def _trials_in(self) -> Mapping[int, int]:
        """How many trials each session has; a trial is of one session."""
        first = np.unique(self.trials, return_index=True)[1]
        return Counter(self.sessions[first].tolist())

    def _count(self, sessions: Sequence[int]) -> int:
        return sum(self._trials_in[session] for session in sessions)

    def _taken(
        self, base: Sequence[int] | np.ndarray, new: Sequence[int] | np.ndarray
    ) -> tuple[list[int], list[int]] | None:
        sides = [[int(one) for one in group if int(one) in self._trials_in] for group in (base, new)]
        if not all(sides):
            return None
        half = MOST_COUNTED // 2
        of_new = self._nearest(sides[1], sides[0], max(half, MOST_COUNTED - self._count(sides[0])))
        return self._nearest(sides[0], sides[1], max(half, MOST_COUNTED - self._count(of_new))), of_new

    def _nearest(self, sessions: Sequence[int], others: Sequence[int], most: int) -> list[int]:
        """Return as many whole sessions as have so many trials together, at least one, those next to others first."""
        if self._count(sessions) <= most:
            return list(sessions)
        away = np.abs(np.subtract.outer(np.asarray(sessions), np.asarray(others))).min(axis=1)
        nearest = [sessions[place] for place in np.argsort(away, kind="stable")]
        found, count = nearest[:1], self._trials_in[nearest[0]]
        for session in nearest[1:]:
            count += self._trials_in[session]
            if count > most:
                break
            found.append(session)
        return found

    def of_sessions(self, count: int, *, mean: bool) -> Floats:
        """Return each session's median, or mean, over its measurements; NaN where it has none."""
        found = np.full(count, np.nan)
        for session in np.unique(self.sessions):
            values = as_floats(self.values[self.sessions == session])
            found[session] = values.mean() if mean else middle(values)
        return found


@dataclass(frozen=True)
class Series:
    """A metric of a subject over an axis; `machine` tells the kind of machine where that matters and there are several.

    `phase` is the event of a timeline that the metric is about, empty for what is of whole trials.
    """

    axis: Axis
    subject: str
    metric: str
    unit: str
    phase: str
    machine: str
    cells: tuple[HistoryCell, ...]

    @property
    def is_rate(self) -> bool:
        """Whether its values are successes, whose means count instead of medians."""
        return metric_of(self.metric).estimator == "proportion"

    @cached_property
    def parts(self) -> tuple[HistoryCell, ...]:
        """The cells, and in place of one whose trials have several pairs of members a cell for each pair and path."""
        return tuple(part for cell in self.cells for part in cell.parts)

    @cached_property
    def matrix(self) -> Floats:
        """A row per session and a column per part: medians (rates for successes), NaN where nothing was measured."""
        count = len(self.axis.sessions)
        return np.stack([part.of_sessions(count, mean=self.is_rate) for part in self.parts], axis=1)

    @cached_property
    def measured(self) -> np.ndarray:
        """The points at which it has a value."""
        seen = ~np.isnan(self.matrix).all(axis=1)
        return np.unique(np.asarray(self.axis.sessions)[seen])

    def sample(self, base: np.ndarray, new: np.ndarray) -> Sample | None:
        """Return two groups of sessions as samples to compare; None where no cell is in both."""
        found = [cell.between(base, new) for cell in self.cells]
        cells = tuple(cell for cell in found if cell is not None)
        return Sample(self.subject, self.metric, self.unit, cells, phase=self.phase) if cells else None
