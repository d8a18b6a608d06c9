"""The chapter "What a hub costs": the claim that started this project, judged by a run's own figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harness.report.hubcost_tables import (
    completion_table,
    cost_table,
    crossover_table,
    direct_table,
    outage_table,
)
from harness.report.hubcost_words import all_direct, bottleneck, crossover, single_point
from harness.report.plots.figure import Drawn, save
from harness.report.plots.hubcost import completion_plots, direct_plots, outage_plots, ratio_plots
from harness.report.plots.style import Look, Style
from harness.report.tables import TextTable
from harness.results.alldirect import measured_by_n
from harness.results.hubcost import computations, costs, crossovers
from harness.results.loading import Results
from harness.results.outages import outages, shares_over_time

KEY = "hub-cost"
TITLE = "What a hub costs"


@dataclass(frozen=True)
class HubCost:
    """The chapter: the verdict in words, its tables and, where there is a folder for them, its plots."""

    sentences: list[str]
    tables: list[TextTable]
    plots: list[Drawn]


def hub_cost(
    results: Results,
    look_of: Mapping[tuple[str, str], Look] | None = None,
    *,
    folder: Path | None = None,
    style: Style | None = None,
) -> HubCost | None:
    """Return the chapter of a run in which parties computed; None for any other. Without a folder nothing is drawn."""
    rows, died = computations(results.records), outages(results.records)
    if rows.empty and not died:
        return None
    found, direct = costs(rows), measured_by_n(results.records)
    bound = [one for one in crossovers(found) if one.workload != "chatty"]  # 32 octets fill no link
    sentences = [*bottleneck(found), *crossover(bound), *single_point(died), *all_direct(direct)]
    tables = [
        *([completion_table(rows)] if len(rows) else []),
        *([cost_table(found)] if found else []),
        *([crossover_table(bound)] if bound else []),
        *([outage_table(died)] if died else []),
        *([direct_table(direct)] if direct else []),
    ]
    drawn: list[Drawn] = []
    if folder is not None and style is not None and look_of is not None:
        plots = [
            *ratio_plots(found, look_of),
            *completion_plots(rows, look_of),
            *outage_plots(shares_over_time(results.path, results.records), look_of),
            *direct_plots(direct, look_of),
        ]
        drawn = [save(plot, folder, style) for plot in plots]
    return HubCost(sentences, tables, drawn)
