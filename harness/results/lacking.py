"""Which figures the trials of one of two runs have and those of the other lack: what is compared are survivors then."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import pandas as pd
from scipy import stats

from harness.results.cells import cells, counted_values
from harness.results.matching import Matching, cell_names
from harness.results.record import COUNTED

# Where neither run has a figure in all its trials, as likely a difference in how many have it is chance.
_CHANCE = 0.05
_KEY = ["subject", "cell", "pair", "what"]
# Whether both runs have it somewhere, P, the subject, and in how many trials: in the order in which lines are given.
_Told = tuple[bool, float, str, str]


def lacking(
    base: pd.DataFrame,
    new: pd.DataFrame,
    matching: Matching,
    compared: Collection[str] = (),
    without: Collection[str] = (),
) -> list[str]:
    """Return a line for each subject and its cells whose trials have a figure in one run and lack it in the other.

    First come figures that one run has nowhere, then those whose difference is the least likely by chance.

    Of every metric in the records but those named in `without`, whether or not it is compared. A figure that all trials
    of a cell have in one run is missed wherever a trial of the other lacks it; one that comes and goes in both where
    that is no chance (Fisher's test). Censored times are figures.

    Args:
        compared: metrics of which `matching` lists already where one run has none at all.
    """
    ends = pd.concat([_ends(base).assign(new=False), _ends(new).assign(new=True)], ignore_index=True)
    if ends.empty:
        return []
    ends["cell"] = cell_names(ends, matching.changed)
    trials = ends.groupby(["subject", "cell", "new"])["trial"].nunique()
    have = pd.concat([_have(frame, ends[ends["new"] == side], without) for side, frame in enumerate((base, new))])
    have["pair"] = have["pair"].where(_several(have, renamed="topology" in matching.changed), "")
    counts = have.groupby([*_KEY, "new"])["trial"].nunique().unstack("new", fill_value=0)
    lines: dict[_Told, dict[str, list[str]]] = {}
    for (subject, cell, pair, what), (old, now) in zip(counts.index, counts.to_numpy().tolist(), strict=True):
        of = [int(trials.get((subject, cell, side), 0)) for side in (False, True)]
        listed = 0 in (old, now) and what.split()[0] in compared
        if all(of) and not listed and _missed((old, of[0]), (now, of[1])):
            told = f"in {old} of {of[0]} trials of the base and {now} of {of[1]} of the new run"
            where = f"{cell}, {pair}" if pair else cell
            line = (0 not in (old, now), _by_chance((old, of[0]), (now, of[1])), subject, told)
            lines.setdefault(line, {}).setdefault(what, []).append(where)
    return [line for one in sorted(lines) for line in _lines(*one[2:], lines[one])]


def _ends(records: pd.DataFrame) -> pd.DataFrame:
    """Return the last record of each trial that counts."""
    frame = cells(records.reset_index(drop=True))
    ends = frame[(frame["probe"] == "trial") & (frame["metric"] == "duration_s") & frame["outcome"].isin(COUNTED)]
    subjects = zip(ends["overlay"].astype(str), ends["mode"].astype(str), strict=True)
    return ends.assign(subject=[" ".join(dict.fromkeys(one)) for one in subjects])


def _have(records: pd.DataFrame, ends: pd.DataFrame, without: Collection[str]) -> pd.DataFrame:
    """Return which trials have which figures, of which pair of members."""
    frame = cells(records.reset_index(drop=True))
    frame = frame[counted_values(frame).notna() & ~frame["metric"].isin(without) & frame["trial"].isin(ends["trial"])]
    frame = frame.merge(ends[["trial", "subject", "cell", "new"]], on="trial")
    pairs = [" - ".join(sorted(members)) for members in zip(frame["src"], frame["dst"], strict=True)]
    frame["pair"] = pd.Series(pairs, frame.index, dtype=object)
    frame["what"] = (frame["metric"].astype(str) + " " + frame["phase"].astype(str)).str.rstrip()
    return frame[[*_KEY, "metric", "new", "trial"]]


def _several(have: pd.DataFrame, *, renamed: bool) -> pd.Series:
    """Tell which figures have several pairs of members, in either run; both are then told by pair.

    A pair in one run and another one in the other are two as well, unless members are `renamed`: of another topology.
    """
    key = ["subject", "cell", "metric"]
    if not renamed:
        return have.groupby(key)["pair"].transform("nunique") > 1
    in_each = have.groupby([*key, "new"])["pair"].transform("nunique")
    return have.assign(count=in_each).groupby(key)["count"].transform("max") > 1


def _missed(base: tuple[int, int], new: tuple[int, int]) -> bool:
    (old, of_base), (now, of_new) = base, new
    if old * of_new == now * of_base:
        return False
    return old == of_base or now == of_new or _by_chance(base, new) < _CHANCE


def _by_chance(base: tuple[int, int], new: tuple[int, int]) -> float:
    """Return P of so large a difference between how many of how many trials have a figure (Fisher)."""
    (old, of_base), (now, of_new) = base, new
    return float(stats.fisher_exact([[old, of_base - old], [now, of_new - now]]).pvalue)


def _lines(subject: str, told: str, of_metric: Mapping[str, list[str]]) -> list[str]:
    by_cells: dict[tuple[str, ...], list[str]] = {}
    for what, where in of_metric.items():
        by_cells.setdefault(tuple(where), []).append(what)
    return [
        f"{subject} ({where[0] if len(where) == 1 else f'{len(where)} cells'}): {', '.join(sorted(names))} {told}"
        for where, names in by_cells.items()
    ]
