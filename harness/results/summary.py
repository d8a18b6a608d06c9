"""From records to the tidy summary: a row per cell and metric, with n, estimate, interval and what did not count."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pandas as pd

from harness.results.cells import CELL, CONDITION, cells, counted_values
from harness.results.clusters import estimate
from harness.results.metrics import is_of_a_path, metric_of
from harness.results.pairs import nats_between
from harness.results.paths import over_pairs, over_ways, path_seen
from harness.results.record import INSTEAD
from harness.results.statistics import Estimate, Floats, as_floats, medians, proportion

COUNTS = INSTEAD
COLUMNS = (*CELL, "metric", "over", "n", "estimate", "ci_low", "ci_high", "unit", "method", *COUNTS, "layer", "path")

# What n counts: runs; pairs of members in all runs, clustered by run; runs, each a success when all its pairs are.
RUNS, PAIRS, WHOLE_RUNS = "runs", "pairs", "whole runs"
_SHARED = (*CONDITION, "phase")

# The path of what is a whole trial's whose pairs have different paths.
SEVERAL = "several"

Key = tuple[str, ...]
# The cell's keys and metric, its path, what n counts, unit, estimate.
_Row = tuple[Key, str, str, str, Estimate]


def summarise(records: pd.DataFrame) -> pd.DataFrame:
    """Return the summary of records (the frame of `harness.results.frame`); see `summarise_parts`."""
    return summarise_parts([records])


def summarise_parts(parts: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """Summarise records that come in parts, each of whole trials, keeping of each measurement some 30 bytes.

    The columns are `COLUMNS`: the cell's keys (text, empty where there is none; `params` as canonical JSON), metric,
    over (what n counts), n, estimate, ci_low, ci_high (in `unit`; NaN: none, inf: beyond the deadline), method, the
    number of trials of that cell in which this metric failed, was unsupported, invalid or an error, the overlay's
    layer, and of what a path costs the path, a row for each that its pairs took (empty for what is of all paths).

    Trials that are invalid, unsupported or in error never count in n. Several values of one trial and direction are
    first reduced to their median: the run is the unit. Where a run has several pairs of members, further rows without
    `src` and `dst` pool them: over all pairs, with an interval that knows that pairs of one run are not independent,
    and for successes over runs of which all pairs succeeded.
    """
    kept, counts = _Kept(), _Counts()
    layers: dict[str, str] = {}
    for records in parts:
        if records.empty:
            continue
        frame = cells(records)
        frame["path"] = _path_of(frame)
        frame["facts"] = frame["pair"].astype(str)
        kept.add(_per_run(frame))
        counts.add(frame)
        told = frame.loc[frame["layer"].notna()].groupby("overlay", sort=False)["layer"].first()
        layers = {str(overlay): str(layer) for overlay, layer in told.items()} | layers
    if not kept.keys:
        return pd.DataFrame(columns=list(COLUMNS))
    measured = kept.measured()
    found = [*_per_cell(kept, measured), *_over_pairs(kept, measured)]
    table = pd.DataFrame([key for key, *_ in found], columns=[*CELL, "metric"])
    table["path"] = [path for _, path, *_ in found]
    table["over"] = [over for _, _, over, *_ in found]
    for name, attribute in (("n", "n"), ("estimate", "value"), ("ci_low", "low"), ("ci_high", "high")):
        table[name] = [getattr(one, attribute) for *_, one in found]
    table["unit"] = [unit for *_, unit, _ in found]
    table["method"] = [one.method for *_, one in found]
    table["layer"] = table["overlay"].map(layers).astype(object).fillna("").astype("str")
    table[list(COUNTS)] = counts.of(table)
    return table[list(COLUMNS)]


def _path_of(frame: pd.DataFrame) -> list[str]:
    """Return each record's path (`path_seen`); empty for what is of all paths."""
    seen = frame[(frame["metric"] == "connect_success") & frame["path"].notna()]
    of_pair: dict[tuple[str, frozenset[str]], str] = {}
    of_trial: dict[str, str] = {}
    for trial, src, dst, path in seen[["trial", "src", "dst", "path"]].itertuples(index=False, name=None):
        of_pair[trial, frozenset((src, dst))] = path
        of_trial[trial] = path if of_trial.get(trial, path) == path else SEVERAL
    told = {name: is_of_a_path(name) for name in frame["metric"].unique()}
    own = frame["path"].astype(object).where(frame["path"].notna(), "")
    columns = zip(*(frame[n] for n in ("trial", "src", "dst", "metric", "phase")), own, strict=True)
    return [
        path_seen(phase, path, of_pair.get((trial, frozenset((src, dst))), of_trial.get(trial, "")))
        if told[metric]
        else ""
        for trial, src, dst, metric, phase, path in columns
    ]


def _per_run(frame: pd.DataFrame) -> pd.DataFrame:
    """Return one row per cell, metric and trial."""
    frame = frame.assign(value=counted_values(frame))
    keys = [*CELL, "metric", "path", "trial"]
    if not frame.duplicated(keys).any():
        return frame
    return frame.groupby(keys, sort=False, as_index=False).agg({"value": "median", "unit": "first", "facts": "first"})


class _Kept:
    """One row per cell, metric and trial, as numbers: `key` of (cell and metric), `path`, `facts` (a record's pair)."""

    def __init__(self) -> None:
        self.keys: dict[Key, int] = {}
        self.units: list[str] = []
        self.paths: dict[str, int] = {}
        self.facts: dict[str, int] = {}
        self._trials = 0
        self._parts: list[tuple[npt.NDArray[Any], ...]] = []

    def add(self, per_run: pd.DataFrame) -> None:
        """Add the rows of whole trials."""
        names = [*CELL, "metric"]
        local = per_run.groupby(names, sort=False).ngroup().to_numpy()
        _, first = np.unique(local, return_index=True)  # numbered in the order in which they came
        numbers = []
        for *key, unit in per_run.iloc[first][[*names, "unit"]].itertuples(index=False, name=None):
            if (known := tuple(map(str, key))) not in self.keys:
                self.keys[known] = len(self.keys)
                self.units.append(str(unit))
            numbers.append(self.keys[known])
        trials, found = pd.factorize(per_run["trial"])
        self._parts.append(
            (
                np.asarray(numbers, np.int32)[local],
                _numbered(per_run["path"], self.paths).astype(np.int16),
                _numbered(per_run["facts"], self.facts),
                (trials + self._trials).astype(np.int32),
                as_floats(per_run["value"]),
            )
        )
        self._trials += len(found)

    def measured(self) -> pd.DataFrame:
        """Return all rows but those that have no value, on whatever path, where others of their cell have one."""
        columns = [np.concatenate(part) for part in zip(*self._parts, strict=True)]
        self._parts.clear()
        has = ~np.isnan(columns[-1])
        some = np.zeros(len(self.keys), dtype=bool)
        some[columns[0][has]] = True
        rows = has | ~some[columns[0]]
        names = ("key", "path", "facts", "trial", "value")
        return pd.DataFrame({name: column[rows] for name, column in zip(names, columns, strict=True)}, copy=False)


def _numbered(texts: pd.Series, known: dict[str, int]) -> npt.NDArray[np.int32]:
    local, found = pd.factorize(texts)
    return np.asarray([known.setdefault(str(text), len(known)) for text in found], np.int32)[local]


def _per_cell(kept: _Kept, rows: pd.DataFrame) -> list[_Row]:
    found: list[tuple[Key, str, str, Estimate | None]] = []
    waiting: list[Floats] = []  # medians are estimated together, which is much faster
    keys, paths = list(kept.keys), list(kept.paths)
    for numbers, group in rows.groupby(["key", "path"], sort=False)["value"]:
        key, path = cast("tuple[int, int]", numbers)
        values = as_floats(group.dropna())
        done = None
        if metric_of(keys[key][-1]).estimator == "proportion":
            done = proportion(round(float(values.sum())), values.size)
        else:
            waiting.append(values)
        found.append((keys[key], paths[path], kept.units[key], done))
    estimated = iter(medians(waiting))
    return [(key, path, RUNS, unit, next(estimated) if done is None else done) for key, path, unit, done in found]


def _over_pairs(kept: _Kept, rows: pd.DataFrame) -> Iterator[_Row]:
    keys, paths, facts = list(kept.keys), list(kept.paths), list(kept.facts)
    ends = [key[-3:-1] for key in keys]
    shared, pairs = (
        pd.factorize(pd.Series(texts, dtype=object))[0].astype(np.int32)
        for texts in ([(*key[:-3], key[-1]) for key in keys], [" ".join(sorted(pair)) for pair in ends])
    )
    directed = rows[np.asarray([src != "" for src, _ in ends], bool)[rows["key"]] & rows["value"].notna().to_numpy()]
    directed = directed.assign(shared=shared[directed["key"]], pair=pairs[directed["key"]])
    counts = directed.drop_duplicates(["shared", "pair"])["shared"].value_counts()
    several = directed[directed["shared"].isin(counts.index[counts > 1])]
    for numbers, group in several.groupby(["shared", "path"], sort=False):
        _, path = cast("tuple[int, int]", numbers)
        number = int(group["key"].iloc[0])
        key, unit = keys[number], kept.units[number]
        metric = key[-1]
        by_pair = group.set_index(["trial", "pair"])["value"]
        if by_pair.index.has_duplicates:
            by_pair = group.groupby(["trial", "pair"], sort=False)["value"].agg(partial(over_ways, metric))
        trials = by_pair.index.get_level_values("trial")
        without_ends = (*key[:-3], "", "", metric)
        of_pairs = estimate(metric, as_floats(by_pair), list(trials))
        told = group[["facts", "key"]].drop_duplicates().itertuples(index=False, name=None)
        nats = [nats_between(facts[fact], *ends[number]) for fact, number in told]
        kinds = {None if of_pair is None else tuple(sorted(of_pair)) for of_pair in nats}
        if len(kinds) > 1 and metric_of(metric).estimator == "proportion":
            # Which pairs succeed is set by their NATs, and those were chosen: an interval would be one of the choice.
            method = f"proportion of pairs behind {len(kinds)} different pairs of NATs; no interval"
            of_pairs = Estimate(of_pairs.n, of_pairs.value, np.nan, np.nan, method)
        yield without_ends, paths[path], PAIRS, unit, of_pairs
        if metric_of(metric).estimator == "proportion":
            whole = by_pair.groupby(level="trial", sort=False).agg(partial(over_pairs, metric))
            yield without_ends, "", WHOLE_RUNS, unit, proportion(round(float(whole.sum())), whole.size)


class _Counts:
    """How many trials of a cell did not give a metric, by reason; only trials in which something is not ok are kept.

    A trial that ended early has no record of most metrics, so its own outcome speaks for those it lacks.
    """

    def __init__(self) -> None:
        self._of_key: dict[Key, dict[str, str]] = {}
        self._of_condition: dict[Key, dict[str, str]] = {}
        self._of_pairs: dict[Key, dict[str, str]] = {}

    def add(self, frame: pd.DataFrame) -> None:
        """Add whole trials."""
        bad = frame[frame["trial"].isin(frame.loc[frame["outcome"] != "ok", "trial"].unique())]
        names = [*CELL, "metric", "trial", "outcome"]
        outcome_of: dict[Key, dict[str, str]] = {}
        for row in zip(*(bad[name] for name in names), strict=True):
            outcome_of.setdefault(row[:-2], {})[row[-2]] = row[-1]
        for key, outcomes in outcome_of.items():
            self._of_key.setdefault(key, {}).update(outcomes)
            if key[-1] == "duration_s":
                self._of_condition.setdefault(key[: len(CONDITION)], {}).update(outcomes)
            pooled = self._of_pairs.setdefault((*key[: len(_SHARED)], "", "", key[-1]), {})
            # One pair that failed is a trial that failed for this metric.
            pooled.update({trial: what for trial, what in outcomes.items() if pooled.get(trial, "ok") == "ok"})

    def of(self, table: pd.DataFrame) -> npt.NDArray[np.int64]:
        """Return the counts of each row, a column for each of `COUNTS`."""
        counts = []
        for over, *rest in table[["over", *CELL, "metric"]].itertuples(index=False, name=None):
            key = tuple(rest)
            own = (self._of_key if over == RUNS else self._of_pairs).get(key, {})
            tally = Counter((self._of_condition.get(key[: len(CONDITION)], {}) | own).values())
            counts.append([tally[name] for name in COUNTS])
        return np.asarray(counts, dtype=np.int64).reshape(-1, len(COUNTS))
