"""What a probe declares of its figures: metrics, and the columns and plots that show them. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Estimator = Literal["proportion", "median", "censored median"]
Better = Literal["higher", "lower", "neither"]
OverWays = Literal["mean", "smaller", "larger"]
OverPairs = Literal["median", "all", "any"]

NEVER: Final = "it never came to this event before the traffic ended"
"""Why an event of a timeline has no figures: reports count the records that say so."""


@dataclass(frozen=True)
class Metric:
    """What a metric means.

    `min_effect` is the smallest change worth calling a regression, as a share of the baseline's value (of 1 for a
    proportion); `min_absolute` its floor in the metric's own unit. `ways` makes one value of a pair's two
    directions: their mean, or the smaller or larger where a pair is only as good as its worse way. `pairs` makes one of
    a trial's pairs: their median, or whether it holds for all, or for any. `in_tables`: tables and plots show it.
    `of_instrument`: it tells of the harness, so that its values of invalid trials are shown as well. `by_phase`: it has
    a value for each event of a timeline, which tables of phases show, and nothing ever pools. `multiple`: of unit 1,
    but no share: it may be above 1.
    """

    name: str
    unit: str
    definition: str
    source: str
    better: Better = "neither"
    estimator: Estimator = "median"
    min_effect: float = 0.1
    min_absolute: float = 0.0
    ways: OverWays = "mean"
    pairs: OverPairs = "median"
    in_tables: bool = False
    of_instrument: bool = False
    by_phase: bool = False
    multiple: bool = False


@dataclass(frozen=True)
class OfCell:
    """A metric that can be compared with the underlay's own trial of the same cell and repeat (`baseline: cell`).

    Then a record of the overlay's `metric` is followed by the underlay's value as `underlay`, and by their `ratio`.
    """

    metric: str
    underlay: str
    ratio: str


@dataclass(frozen=True)
class Column:
    """A column of a table that has a row per overlay, mode and path.

    Args:
        table: `OVERVIEW`, or the key of a `Table`.
        form: how the pairs' values become a cell: their median with `digits`; `time`, a median that may lie beyond the
            deadline; `late`, one that may, of a clock by which the deadline is not known; `gap`, one that may not have
            been over when it was last looked at; `percent`, the median of
            ratios; `count`, successes of pairs; `success`, of trials or cells; `path`, the path and how often it was
            seen.
        of_underlay: whether the underlay's own row shows it; what the underlay adds to itself is noise.
        of_all_paths: one value for all paths of an overlay, in the first of its rows of the overview.
        always: shown although no pair has a value.
    """

    table: str
    header: str
    metric: str
    form: Literal["median", "time", "late", "gap", "percent", "count", "success", "path"] = "median"
    digits: int = 2
    of_underlay: bool = True
    of_all_paths: bool = False
    always: bool = False


OVERVIEW = "overview"


@dataclass(frozen=True)
class Chapter:
    """A chapter of the page, shown where one of its tables or plots is; `always`: said to be unmeasured where none is.

    Chapters stand in the order of `place`, then of the probes.
    """

    key: str
    title: str
    text: str = ""
    place: int = 100
    always: bool = False


@dataclass(frozen=True)
class Table:
    """A table that columns of several probes may share; `by_phase`: a row for each event of each overlay and mode.

    `of_all_paths`: a row per overlay and mode over all its paths, for what is about the paths themselves.
    """

    key: str
    title: str
    chapter: str
    note: str = ""
    by_phase: bool = False
    of_all_paths: bool = False


@dataclass(frozen=True)
class Plot:
    """A picture of one metric in a chapter; `PUNCHING` is the chapter of the path verdicts.

    Args:
        kind: `strip`, a dot per trial; `time`, when how many trials had got there; `distribution`, of the samples in
            the evidence (CSV with seq, sent_s, rtt_ms) of the metric's records, in files named after `name`;
            `timeline`, the events over the traffic in the evidence (CSV with flow, sent_s, rtt_ms, way).
        label: of the value axis, with its unit.
        of_underlay: whether the underlay's own values are drawn.
        ratio: a share of the underlay's, with a line at 1.
        difference: of two values, so that near zero it is noise of either sign.
    """

    kind: Literal["strip", "time", "distribution", "timeline"]
    chapter: str
    metric: str
    title: str
    label: str = ""
    caption: str = ""
    name: str = ""
    of_underlay: bool = True
    ratio: bool = False
    difference: bool = False


PUNCHING = "punch"


@dataclass(frozen=True)
class Shown:
    """What a probe adds to terminal and report."""

    chapters: tuple[Chapter, ...] = ()
    tables: tuple[Table, ...] = ()
    columns: tuple[Column, ...] = ()
    plots: tuple[Plot, ...] = ()
