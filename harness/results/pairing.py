"""Which measurements of two runs belong together: same cell, same seed."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import pandas as pd

from harness.results.cells import cells, counted_values
from harness.results.frame import canonical_json
from harness.results.statistics import Floats, as_floats

# A test pools the NAT pairs of one subject; with a test for each pair, the correction for so many would hide everything
# that a campaign of ordinary size can show. Directions of one trial are no runs of their own: their median counts.
BLOCK = ("nat_a", "nat_b", "nats")
SUBJECT = ("overlay", "mode", "topology", "link", "params")


@dataclass(frozen=True)
class Paired:
    """The values of one subject and metric in both runs, pair by pair; inf: censored at the deadline."""

    subject: tuple[str, ...]
    metric: str
    unit: str
    base: Floats
    new: Floats
    blocks: tuple[str, ...]


@dataclass(frozen=True)
class Matching:
    """All pairs of two runs, and what kept others apart.

    `subject_keys` names what a `Paired.subject` holds. `changed` are conditions that are constant in each run and
    differ between them (another link, say): they are compared all the same, and said. `by_seed` tells whether pairs
    share their seed; with other seeds they share cell and repeat only.
    """

    subject_keys: tuple[str, ...]
    pairs: list[Paired]
    changed: dict[str, tuple[str, str]] = field(default_factory=dict)
    only_base: list[str] = field(default_factory=list)
    only_new: list[str] = field(default_factory=list)
    by_seed: bool = True


def match(base: pd.DataFrame, new: pd.DataFrame, metrics: frozenset[str]) -> Matching:
    """Pairs the records of two runs, metric by metric."""
    frames = [_values(frame, metrics) for frame in (base, new)]
    changed = _changed(*frames)
    subject_keys = tuple(name for name in SUBJECT if name not in changed)
    keys = [*subject_keys, *BLOCK]
    by_seed = not set(frames[0]["seed"]).isdisjoint(frames[1]["seed"])
    rank = "seed" if by_seed else "repeat"
    # A trial's several values count once; then pairs are unique.
    sides = [frame.groupby([*keys, rank, "metric", "unit"], sort=True)["value"].median() for frame in frames]
    both = pd.DataFrame({"base": sides[0], "new": sides[1]}).dropna().reset_index()
    both["block"] = [" ".join(map(str, row)) for row in both[list(BLOCK)].itertuples(index=False)]
    pairs = []
    for key, group in both.groupby([*subject_keys, "metric", "unit"], sort=False):
        values = [as_floats(group[side].to_numpy()) for side in ("base", "new")]
        blocks = tuple(group["block"])
        pairs.append(Paired(tuple(map(str, key[:-2])), str(key[-2]), str(key[-1]), values[0], values[1], blocks))
    present = [_cells(frame, keys) for frame in frames]
    return Matching(
        subject_keys, pairs, changed, sorted(present[0] - present[1]), sorted(present[1] - present[0]), by_seed
    )


def _values(records: pd.DataFrame, metrics: frozenset[str]) -> pd.DataFrame:
    frame = cells(records)
    frame["value"] = counted_values(frame)
    frame["nats"] = [nat_params(text) for text in frame["params"]]
    frame["params"] = [other_params(text) for text in frame["params"]]
    kept = frame["metric"].isin(metrics) & ~np.isnan(as_floats(frame["value"].to_numpy()))
    return frame[kept]


def _changed(base: pd.DataFrame, new: pd.DataFrame) -> dict[str, tuple[str, str]]:
    changed = {}
    for name in ("topology", "link", "params"):
        values = [frame[name].unique() for frame in (base, new)]
        if len(values[0]) == len(values[1]) == 1 and values[0][0] != values[1][0]:
            changed[name] = (str(values[0][0]), str(values[1][0]))
    return changed


def _cells(frame: pd.DataFrame, keys: list[str]) -> set[str]:
    names = [name for name in keys if name not in {"nats"}]
    return {
        " ".join(part for part in row if part not in {"", "{}"})
        for row in frame[names].itertuples(index=False, name=None)
    }


@lru_cache(maxsize=65536)
def nat_params(params: str) -> str:
    return canonical_json({key: value for key, value in json.loads(params).items() if key.startswith("nat")})


@lru_cache(maxsize=65536)
def other_params(params: str) -> str:
    rest = {key: value for key, value in json.loads(params).items() if not key.startswith(("nat", "link"))}
    return canonical_json(rest)
