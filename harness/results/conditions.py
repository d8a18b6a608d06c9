"""What sets rows apart beyond their NATs: topology, links, phases, and every parameter that was varied."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping

import pandas as pd

from harness.results.cells import differ

# What tables spread out as rows and columns of their own.
_LABELS = ("topology", "nat_a", "nat_b", "link")
_BACKEND = "link_backend"
_ALWAYS = ("engine", "topology", "link", "phase")


def condition_labels(rows: pd.DataFrame) -> pd.Series:
    """Return what sets each row's condition apart from others', as text; empty where all share one.

    Conditions are topology, links, what emulates those, phase, and the parameters that the labels of NATs and links do
    not tell already: a carrier's NAT that was varied, say, when the labels are those of the home routers. Rows of
    different conditions are never pooled. NATs in the labels are no conditions, since tables and plots spread them out.
    """
    parts = pd.DataFrame({name: rows[name].astype(str) for name in _ALWAYS if name in rows})
    if _BACKEND in rows and differ(rows[_BACKEND]):
        parts[_BACKEND] = rows[_BACKEND].astype(str)
    values = _parameters(rows)
    for name in swept(rows, values):
        parts[name] = [f"{name}={value}" for value in values[name]]
    varied = [name for name in parts if parts[name].nunique() > 1]
    values_of = zip(*(parts[name] for name in varied), strict=True) if varied else ((),) * len(rows)
    return pd.Series([", ".join(word for word in words if word) for words in values_of], index=rows.index, dtype=object)


def swept(rows: pd.DataFrame, values: pd.DataFrame | None = None) -> list[str]:
    """Return the parameters that differ between rows of the same topology, NATs and links."""
    values = _parameters(rows) if values is None else values
    labels = [rows[name].astype(str) for name in _LABELS]
    return [str(name) for name in values if (values[name].groupby(labels).nunique() > 1).any()]


def _parameters(rows: pd.DataFrame) -> pd.DataFrame:
    """Return a column of labels for each parameter that differs anywhere."""
    texts = rows["params"].astype(str)
    distinct = {text: json.loads(text) for text in texts.unique()}
    labels = {
        name: _labels(distinct, name) for name in sorted({name for params in distinct.values() for name in params})
    }
    columns = {name: [of[text] for text in texts] for name, of in labels.items() if len(set(of.values())) > 1}
    return pd.DataFrame(columns, index=rows.index)


def varied_parameters(params: Iterable[object], without: Collection[str] = ()) -> dict[str, str]:
    """Return what tells each set of parameters (canonical JSON) from the others, as text; empty where all are equal.

    Args:
        without: parameters that are told otherwise.
    """
    given = {str(text): json.loads(str(text)) for text in params}
    names = sorted({name for one in given.values() for name in one if name not in without})
    values = {name: _labels(given, name) for name in names}
    varied = [name for name in names if len(set(values[name].values())) > 1]
    return {text: ", ".join(f"{name}={values[name][text]}" for name in varied) for text in given}


def _labels(given: Mapping[str, Mapping[str, object]], parameter: str) -> dict[str, str]:
    """Return a parameter's value in each set of parameters as a label: different values have different labels.

    A link profile is told by its name, as long as no two profiles share it.
    """
    whole = {text: canonical_value(of.get(parameter)) for text, of in given.items()}
    short = {text: _name(of.get(parameter)) or whole[text] for text, of in given.items()}
    return short if len(set(short.values())) == len(set(whole.values())) else whole


def _name(value: object) -> str:
    """Return the name that a value gives itself; empty where it has none."""
    name = value.get("name") if isinstance(value, dict) else None
    return name if isinstance(name, str) else ""


def told_apart(rows: pd.DataFrame, without: Collection[str] = ()) -> list[str]:
    """Return what tells each record's condition from the others', as text; empty where there is but one.

    Topology, engine, what emulates the links and phase, where they differ, then the parameters. Records of different
    texts are never pooled.

    Args:
        without: parameters that are told otherwise.
    """
    said = varied_parameters(rows["params"], without)
    others = [name for name in ("topology", "engine", "phase") if rows[name].nunique() > 1]
    others += [_BACKEND] if _BACKEND in rows and differ(rows[_BACKEND]) else []
    words = zip(*(rows[name].astype(str) for name in others), rows["params"].astype(str).map(said), strict=True)
    return [", ".join(word for word in of_row if word) for of_row in words]


def canonical_value(value: object) -> str:
    """Return a parameter's value as a label."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
