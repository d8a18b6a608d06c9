"""The tables that a run ends with, as text cells: rendered alike for terminal, Markdown, LaTeX and HTML."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from harness.model.nat_order import nat_rank
from harness.report.order import subject_key, subject_name
from harness.results import statistics
from harness.results.conditions import condition_labels
from harness.results.record import COUNTED, INSTEAD
from harness.results.statistics import as_floats

NOTHING = "-"
PATHS = ("direct", "mixed", "relayed", "none")
_MOST_ACROSS = 6


@dataclass(frozen=True)
class TextTable:
    """A table of text; `numeric` are the columns that are set flush right."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: frozenset[int] = frozenset()
    note: str = ""


def groups(trials: pd.DataFrame) -> Iterator[tuple[tuple[str, str], pd.DataFrame]]:
    """The trials of each (overlay, mode), in the order of display."""
    found = {(str(key[0]), str(key[1])): group for key, group in trials.groupby(["overlay", "mode"], sort=False)}
    for subject in sorted(found, key=subject_key):
        yield subject, found[subject]


def overview(trials: pd.DataFrame) -> TextTable:
    """One row per overlay and mode over all its trials (the frame of `trials_frame`)."""
    header: tuple[str, ...] = (
        *("overlay", "hole punch", "path", "connect s", "direct s", "added RTT ms"),
        *("TCP Mbit/s", "TCP share", "not ok"),
    )
    rows: list[tuple[str, ...]] = []
    for (overlay, mode), group in groups(trials):
        # What the underlay adds to itself and its share of itself are noise, not results.
        subject = overlay != "underlay"
        rows.append(
            (
                subject_name(overlay, mode),
                k_of_n(group["hole_punch_success"]) if subject else NOTHING,
                path_counts(counted(group)["path"]),
                middle(group["time_to_connect_s"], group["deadline_s"]),
                middle(group["time_to_direct_s"], group["deadline_s"]) if subject else NOTHING,
                middle(group["added_rtt_p50_ms"], digits=1) if subject else NOTHING,
                middle(group["tcp_throughput_mbit"], digits=1),
                percent(group["tcp_throughput_ratio"]) if subject else NOTHING,
                left_out(group["outcome"]),
            )
        )
    if not any(row[-1] for row in rows):
        header, rows = header[:-1], [tuple(row[:-1]) for row in rows]
    all_of_them, that_count = trials["trial"].nunique(), counted(trials)["trial"].nunique()
    over = (
        f"{all_of_them} trials" if that_count == all_of_them else f"the {that_count} of {all_of_them} trials that count"
    )
    conditions = condition_labels(trials).nunique()
    together = f", {conditions} conditions together" if conditions > 1 else ""
    note = f"Medians over {over}{together}; > means: not by the deadline. Paths are what the lab's own counters saw."
    return TextTable("Overlays", header, tuple(rows), frozenset({1, 3, 4, 5, 6, 7}), note)


def path_matrix(trials: pd.DataFrame) -> TextTable:
    """NAT pairs and overlays: the path that the counters saw. Of many overlays each has a row, else each a column."""
    subjects = [subject for subject, _ in groups(trials) if subject[0] != "underlay"]
    pairs = sorted(
        set(zip(trials["nat_a"], trials["nat_b"], strict=True)), key=lambda pair: (nat_rank(pair[0]), nat_rank(pair[1]))
    )
    by_cell = dict(iter(trials.groupby(["overlay", "mode", "nat_a", "nat_b"], sort=False)))
    cells = [[_path_cell(by_cell.get((*subject, *pair))) for subject in subjects] for pair in pairs]
    names = [" x ".join(label or "no NAT" for label in pair) for pair in pairs]
    across = [subject_name(*subject) for subject in subjects]
    corner = "NATs"
    if len(subjects) > max(len(pairs), _MOST_ACROSS):
        cells, names, across, corner = [list(row) for row in zip(*cells, strict=True)], across, names, "overlay"
    return TextTable(
        "Paths by NAT pair",
        (corner, *across),
        tuple((name, *row) for name, row in zip(names, cells, strict=True)),
        note="direct: hole punched. relayed: through a relay or hub. none: no answer within the deadline.",
    )


def counted(trials: pd.DataFrame) -> pd.DataFrame:
    """The trials that count: what an invalid one saw was seen in another lab than was asked for."""
    return trials[trials["outcome"].isin(COUNTED)]


def k_of_n(values: pd.Series) -> str:
    """Successes of trials that count."""
    counted = values.dropna()
    return f"{int(counted.sum())}/{len(counted)}" if len(counted) else NOTHING


def path_counts(paths: pd.Series) -> str:
    """How often each path was seen."""
    counts = Counter(paths)
    seen = [f"{counts[path]} {path}" for path in PATHS if counts[path]]
    return ", ".join(seen) or NOTHING


def middle(values: pd.Series, deadlines: pd.Series | None = None, digits: int = 2) -> str:
    """The median; `>15` where it lies beyond the deadline."""
    counted = as_floats(values.dropna())
    if not counted.size:
        return NOTHING
    value = statistics.middle(counted)
    if np.isinf(value):
        bound = as_floats(deadlines.dropna()) if deadlines is not None else as_floats([])
        return f">{bound.min():g}" if bound.size else ">deadline"
    return f"{value:.{digits}f}"


def percent(values: pd.Series) -> str:
    """The median of ratios as a percentage."""
    counted = as_floats(values.dropna())
    if not counted.size:
        return NOTHING
    share = 100 * statistics.middle(counted)
    return f"{share:.0f} %" if share >= 10 else f"{share:.1f} %"


def left_out(outcomes: pd.Series | Sequence[str]) -> str:
    """The trials that are not ok, by reason."""
    counts = Counter(outcomes)
    return ", ".join(f"{counts[name]} {name}" for name in INSTEAD if counts[name])


def _path_cell(group: pd.DataFrame | None) -> str:
    if group is None:
        return ""
    paths = [path for path in counted(group)["path"] if path]
    words = [path if n == len(paths) else f"{path} {n}/{len(paths)}" for path, n in Counter(paths).most_common()]
    return ", ".join(words) or left_out(group["outcome"]) or NOTHING
