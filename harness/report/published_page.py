"""The page of a published run, made from its folder alone."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.facts import asked, machine, reproduce
from harness.report.hubcost import TITLE, hub_cost
from harness.report.markup import markdown_of, to_markdown
from harness.report.measured import tables_by_condition
from harness.report.plots.figure import Plot
from harness.report.population import population_of
from harness.report.tables import TextTable
from harness.report.verdict import verdict
from harness.results.loading import Results


def readme_of(results: Results) -> str:
    """Return the page of a published run: verdict, tables, plots, machine, and how to repeat it."""
    plots = [path.stem for path in sorted((results.path / "plots").glob("*.svg"))]
    population = population_of(results)
    parts = [
        f"# {results.manifest.get('scenario', 'A run')}",
        "Written by `overlaybench publish`. overlaybench's `results/README.md` describes the files.",
        *(_population(results, *population) if population is not None else _measured(results)),
        *([] if population is not None else ["## Plots", "\n".join(f"![{name}](plots/{name}.svg)" for name in plots)]),
        "## Scenario, machine, and how to repeat the run",
        "\n".join(
            ["| | |", "|---|---|"]
            + [
                f"| {name} | {value} |"
                for name, value in (*asked(results), *reproduce(results.manifest), *machine(results.manifest))
            ]
        ),
    ]
    return "\n\n".join(parts) + "\n"


def _measured(results: Results) -> list[str]:
    """Return what was measured in a lab in parts of Markdown."""
    tables = markdown_of(tables_by_condition(results.pairs, results.phases)).rstrip()
    return [*_hub_cost(results), *verdict(results.pairs), tables]


def _population(results: Results, tables: Sequence[TextTable], plots: Sequence[Plot]) -> list[str]:
    """Return a population's figures with their captions, then its tables."""
    figures = [f"![{plot.title}](plots/{plot.name}.svg)\n\n*{plot.title}.* {plot.caption}" for plot in plots]
    parts = [f"### {table.title}\n\n{to_markdown(table)}\n{table.note}".rstrip() for table in tables]
    return [str(results.manifest["description"]) + ".", *figures, *parts]


def _hub_cost(results: Results) -> list[str]:
    """Return the chapter on what a hub costs in parts of Markdown; none for a run without computations."""
    chapter = hub_cost(results)
    if chapter is None:
        return []
    tables = [f"### {table.title}\n\n{to_markdown(table)}\n{table.note}" for table in chapter.tables]
    return [f"## {TITLE}", *chapter.sentences, *tables, "## All figures"]
