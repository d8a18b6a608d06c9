"""What an emulated run has of the cells of a population: successes and runs, by overlay and pair of NATs."""

from __future__ import annotations

import json
import math
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from harness.model.words import SEEKING_DIRECT
from harness.results.loading import load
from harness.results.record import COUNTED
from harness.results.store import ResultFolderError

_Key = tuple[str, str, tuple[str, ...]]
_NATS = ("nat_a", "nat_b")
_CONDITION = ("topology", "link", "link_backend", "params")


def emulated_cells(folder: Path, deadline_s: float) -> list[dict[str, Any]]:
    """Return counts of what was direct within a population's deadline, in the modes that try it.

    Where the lab waited longer (`waited_s`), a path counts that was direct at the lab's end and since no later than the
    population's deadline; `untold` are left out, of which is not known since when they were direct. Trials that do not
    count are left out as well. `waited` has the same counts for the `deadline_s` of the lab itself, the shortest if its
    trials have several. Each cell says what it is of: the lab's `run` and `commit`, and the `link`.

    Raises:
        ResultFolderError: it is no result folder, its labs waited for a shorter time, or one pair of NATs was measured
            under several conditions, which are no one cell.
    """
    results = load(folder)
    pairs, manifest = results.pairs, results.manifest
    rows = pairs[pairs["outcome"].isin(COUNTED) & pairs["mode"].isin(SEEKING_DIRECT)]
    rows = rows[rows["hole_punch_success"].notna()]
    _require_as_long(folder, rows["deadline_s"], deadline_s)
    shortest_s = float(rows["deadline_s"].min())
    own_s = deadline_s if math.isnan(shortest_s) else shortest_s
    found, of_lab = _Counts(deadline_s), _Counts(own_s)
    waited: dict[_Key, set[float]] = {}
    conditions: dict[_Key, dict[str, str]] = {}
    names = ("overlay", "mode", "nat_a", "nat_b", "hole_punch_success", "time_to_direct_s", "deadline_s")
    conditioned = rows[list(_CONDITION)].astype(str).to_dict(orient="records")
    columns = zip(*(rows[each] for each in names), conditioned, strict=True)
    for overlay, mode, nat_a, nat_b, success, direct_s, waited_s, condition in columns:
        # A lab may have a pair of NATs in both orders, of which a cell knows none.
        key = (str(overlay), str(mode), tuple(sorted((str(nat_a), str(nat_b)))))
        _require_alike(folder, key, conditions.setdefault(key, condition), condition)
        waited.setdefault(key, set())
        if not math.isnan(waited_s):  # a trial that failed before anything was measured tells none
            waited[key].add(float(waited_s))
        for counts in (found, of_lab):
            counts.add(key, success=bool(success), direct_s=direct_s, waited_s=waited_s)
    return [
        {
            "overlay": key[0],
            "mode": key[1],
            "nats": list(key[2]),
            **found.of(key),
            "waited_s": sorted(waited[key]),
            "waited": {"deadline_s": own_s, **of_lab.of(key)},
            "run": manifest.get("run"),
            "commit": manifest.get("overlaybench_commit"),
            "link": conditions[key]["link"],
        }
        for key in sorted(waited)
    ]


class _Counts:
    """What was direct within a time, of each cell."""

    def __init__(self, within_s: float) -> None:
        self._within_s = within_s
        self._runs: Counter[_Key] = Counter()
        self._successes, self._untold = self._runs.copy(), self._runs.copy()

    def add(self, key: _Key, *, success: bool, direct_s: float, waited_s: float) -> None:
        """Count a pair that was direct at the end or not, since when, of a trial that waited for so long."""
        since_matters = success and waited_s != self._within_s
        if since_matters and not math.isfinite(direct_s):
            self._untold[key] += 1
            return
        self._runs[key] += 1
        self._successes[key] += int(success and not (since_matters and direct_s > self._within_s))

    def of(self, key: _Key) -> dict[str, int]:
        """Return a cell's counts as population.json has them."""
        return {"successes": self._successes[key], "runs": self._runs[key], "untold": self._untold[key]}


def _require_alike(folder: Path, key: _Key, one: dict[str, str], other: dict[str, str]) -> None:
    """Refuse what is no one cell: the exact tests take runs of a cell for draws of one rate."""
    if one == other:
        return
    for name in _CONDITION:
        here, there = (_without_nats(each[name]) if name == "params" else each[name] for each in (one, other))
        if here != there:
            raise ResultFolderError(
                f"{folder}: {key[0]} between {' and '.join(each or 'no NAT' for each in key[2])} has several "
                f"conditions, of which {name} is {here or 'none'} and {there or 'none'}; a cell is of one: give a "
                "folder that has one alone"
            )


@lru_cache(maxsize=4096)
def _without_nats(params: str) -> str:
    """Return a trial's parameters without those that say which NATs there are, in which order."""
    said = {name: value for name, value in json.loads(params).items() if name not in _NATS}
    return json.dumps(said, sort_keys=True)


def _require_as_long(folder: Path, waited_s: pd.Series, deadline_s: float) -> None:
    """Refuse a lab of which is not known what would have been direct by the population's deadline."""
    shortest_s = waited_s.min()
    if shortest_s < deadline_s:
        raise ResultFolderError(
            f"{folder}: its labs waited {shortest_s:g} s for direct paths, the population waits {deadline_s:g} s: what "
            f"comes in between is not known; give the population a deadline_s of {shortest_s:g} or less"
        )
