"""What the page shows of one condition: tables, matrices and plots."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from harness.report.measured import declared_tables, table_of
from harness.report.order import subject_name
from harness.report.plots.figure import Drawn, Plot, save
from harness.report.plots.heatmap import Matrix, heatmap_plot, labels, matrix_of, shade
from harness.report.plots.latency import latency_plots
from harness.report.plots.strips import strip_plot
from harness.report.plots.style import Look, Style
from harness.report.plots.timeline import timeline_plot
from harness.report.plots.times import time_plot
from harness.report.tables import TextTable, groups, overview, path_matrix
from harness.results import declared
from harness.results.metrics import shown

# Conditions beyond these get their tables but no plots: drawing takes about a quarter of a second each.
MOST_DRAWN = 6

MATRIX, QUALITY = "matrix", "quality"
_OWN_PLOTS = (
    declared.Plot(
        "strip",
        QUALITY,
        "link_lateness_p99_us",
        "Link emulator: lateness",
        "99th percentile (us)",
        "Delay of packets after they were due, over whole trials, including invalid trials and repeated measurements.",
    ),
)

# The samples behind a metric's records.
SamplesOf = Callable[[str], pd.DataFrame]


@dataclass(frozen=True)
class Raw:
    """What lies behind pairs and trials: round trips (`latency_samples`), traffic (`traffic_of`), `phases_frame`."""

    samples_of: SamplesOf
    traffic_of: SamplesOf
    phases: pd.DataFrame


@dataclass(frozen=True)
class MatrixCell:
    """A cell of a matrix as the page shows it; `text` is empty where the pair was not tried."""

    text: str = ""
    interval: str = ""
    paths: str = ""
    colour: str = ""
    few: bool = False
    left_out: int = 0


@dataclass(frozen=True)
class MatrixTable:
    """A NAT x NAT matrix as an HTML table."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[MatrixCell]]]


@dataclass(frozen=True)
class Section:
    """One condition of the run; `label` is empty when there is only one. `tables` and `plots` are keyed by chapter."""

    label: str
    overview: TextTable
    paths: TextTable
    matrices: list[MatrixTable]
    tables: dict[str, list[TextTable]]
    plots: dict[str, list[Drawn]]


def section_of(
    label: str,
    trials: pd.DataFrame,
    raw: Raw,
    look_of: dict[tuple[str, str], Look],
    *,
    folder: Path | None,
    style: Style,
    suffix: str,
) -> Section:
    """Return the section for these trials; without a folder nothing is drawn."""
    matrices = []
    for (overlay, mode), group in groups(trials):
        matrix = matrix_of(group, overlay, mode) if overlay != "underlay" else None
        if matrix is not None:
            matrices.append(matrix)
    drawn: dict[str, list[Drawn]] = {}
    if folder is not None:
        for chapter, plots in _plots(trials, raw, matrices, look_of, suffix).items():
            drawn[chapter] = [save(plot, folder, style) for plot in plots]
    tables: dict[str, list[TextTable]] = {}
    for table in declared_tables():
        text = table_of(table, trials, raw.phases)
        if text is not None:
            tables.setdefault(table.chapter, []).append(text)
    return Section(
        label,
        overview(trials),
        path_matrix(trials),
        [_table(matrix) for matrix in matrices],
        tables,
        drawn,
    )


def chapters_of(sections: list[Section]) -> list[declared.Chapter]:
    """Return the chapters that the probes declare and these sections fill, in their order."""
    found = [chapter for one in shown().values() for chapter in one.chapters]
    return [
        chapter
        for chapter in sorted(found, key=lambda chapter: chapter.place)
        if chapter.always
        or any(chapter.key in section.tables or section.plots.get(chapter.key) for section in sections)
    ]


def _plots(
    trials: pd.DataFrame,
    raw: Raw,
    matrices: list[Matrix],
    look_of: dict[tuple[str, str], Look],
    suffix: str,
) -> dict[str, list[Plot]]:
    made: dict[str, list[Plot]] = {MATRIX: [heatmap_plot(matrix, suffix) for matrix in matrices]}
    for plot in (*(plot for one in shown().values() for plot in one.plots), *_OWN_PLOTS):
        match plot.kind:
            case "strip":
                done = strip_plot(trials, plot, look_of, suffix)
            case "time":
                done = time_plot(trials, plot.metric, look_of, title=plot.title, suffix=suffix)
            case "distribution":
                samples = raw.samples_of(plot.metric)
                done = latency_plots(samples, trials, look_of, suffix, name=plot.name, title=plot.title)
            case "timeline":
                done = timeline_plot(raw.traffic_of(plot.metric), raw.phases, trials, plot, look_of, suffix)
        made.setdefault(plot.chapter, []).extend(done)
    return made


def _table(matrix: Matrix) -> MatrixTable:
    rows = []
    for nat_a, name in zip(matrix.nats_a, labels(matrix.nats_a), strict=True):
        cells = []
        for nat_b in matrix.nats_b:
            cell = matrix.cells.get((nat_a, nat_b))
            if cell is None:
                cells.append(MatrixCell())
            elif not cell.n:
                cells.append(MatrixCell("-", colour=shade(float("nan")), few=True, left_out=cell.left_out))
            else:
                cells.append(
                    MatrixCell(
                        f"{cell.k}/{cell.n}",
                        f"{100 * cell.low:.0f} to {100 * cell.high:.0f} %",
                        ", ".join(cell.paths),
                        shade(cell.k / cell.n),
                        cell.few,
                        cell.left_out,
                    )
                )
        rows.append((name, cells))
    return MatrixTable(subject_name(matrix.overlay, matrix.mode), labels(matrix.nats_b), rows)
