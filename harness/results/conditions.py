"""Takes a cell's parameters apart: NATs, links, and what else was varied."""

from __future__ import annotations

import json
from functools import lru_cache

import pandas as pd

from harness.results.cells import BOUNDS
from harness.results.frame import canonical_json


@lru_cache(maxsize=65536)
def nat_params(params: str) -> str:
    """Canonical JSON of the NAT parameters alone: `nat_a`, `nat_carrier` and their like."""
    return canonical_json({key: value for key, value in json.loads(params).items() if key.startswith("nat")})


@lru_cache(maxsize=65536)
def other_params(params: str) -> str:
    """Canonical JSON of what is neither NAT nor link (the record's own fields tell those) nor a bound."""
    rest = {
        key: value
        for key, value in json.loads(params).items()
        if not key.startswith(("nat", "link")) and key not in BOUNDS
    }
    return canonical_json(rest)


def condition_labels(trials: pd.DataFrame) -> pd.Series:
    """What sets each row's condition apart from others', as text; empty where all share one.

    Conditions are topology, link and the other parameters; NATs are not, since tables and plots spread them out.
    """
    parts = pd.DataFrame({"topology": trials["topology"].astype(str), "link": trials["link"].astype(str)})
    rest = [json.loads(other_params(str(params))) for params in trials["params"]]
    for name in sorted({key for row in rest for key in row}):
        parts[name] = [f"{name}={canonical_value(row.get(name))}" for row in rest]
    varied = [name for name in parts if parts[name].nunique() > 1]
    return parts[varied].agg(", ".join, axis=1) if varied else pd.Series("", index=trials.index)


def canonical_value(value: object) -> str:
    """A parameter's value as a label."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
