"""report.html: one self-contained page, made from the result folder's files alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import pandas as pd

from harness.model.words import OUTCOMES
from harness.report.evidence import Evidence
from harness.report.expected import expected_table, judged, sentence
from harness.report.facts import asked, began_busy, machine, never_came, reproduce
from harness.report.hosts import hosts_chapter
from harness.report.hubcost import HubCost, hub_cost
from harness.report.page import render
from harness.report.plots.style import SCREEN, Style, looks
from harness.report.population import FILE as POPULATION
from harness.report.population import population_section
from harness.report.quality import quality_of
from harness.report.sections import MOST_DRAWN, Raw, Section, chapters_of, section_of
from harness.report.seen import verdict_of
from harness.report.tables import groups
from harness.report.topology import Drawing, draw_topology
from harness.report.verdict import verdict
from harness.results.conditions import canonical_value, condition_labels
from harness.results.files import write_atomically
from harness.results.loading import Results, load
from harness.results.parts import first_repeats, record_parts
from harness.results.samples import inside, latency_samples
from harness.results.tabulate import write_summary
from harness.results.traffic import traffic_of

# Simulated runs have tens of thousands of trials; what is not listed is in the tables.
MOST_LISTED = 2000
MOST_PAIRS = 20_000
"""Pairs of simulated members that the page's general chapters tell of: a pair of them takes ten kilobytes."""
FIRST_REPEATS = (
    "This page covers only the first {} worlds of each cell and of each size of groups; its chapter on the population, "
    "and summary.csv, cover all of them."
)


def write_report(run_dir: Path, style: Style = SCREEN, out_dir: Path | None = None) -> Path:
    """Write report.html, plots/*, and summary.csv where it is missing; return the page's path.

    Args:
        run_dir: the result folder. Needs no privileges and nothing but it.
        out_dir: where to write, `run_dir` itself unless given: then that is only read.

    Raises:
        ResultFolderError: `run_dir` is no result folder.
    """
    results, last = first_repeats(run_dir, MOST_PAIRS) if (run_dir / POPULATION).exists() else (load(run_dir), None)
    out = results.path if out_dir is None else out_dir
    out.mkdir(parents=True, exist_ok=True)
    page = report_page(results, out / "plots", Evidence(results.path, page_dir=out), style, last_repeat=last)
    if not (results.path / "summary.csv").exists() or out_dir is not None:
        write_summary(record_parts(run_dir), out / "summary.csv")
    path = out / "report.html"
    write_atomically(path, page.encode())
    return path


def report_page(
    results: Results,
    plots: Path,
    evidence: Evidence,
    style: Style = SCREEN,
    *,
    home: str = "",
    most_drawn: int = MOST_DRAWN,
    last_repeat: int | None = None,
) -> str:
    """Return the page as text; its plots are written as files into `plots`.

    Args:
        evidence: what the trials left; where it gives no links, the page says nothing of files next to it.
        home: a link to the site that the page is part of, if any.
        most_drawn: how many conditions have plots; all have tables.
        last_repeat: the last of the repeats that `results` has, where there are more (`first_repeats`).
    """
    sections = _sections(results, plots, style, most_drawn)
    judgement = judged(results)
    return render(
        "report.html.j2",
        results=results,
        home=home,
        files=evidence.linked,
        manifest=results.manifest,
        asked=asked(results),
        machine=machine(results.manifest),
        reproduce=reproduce(results.manifest),
        verdict=[
            *([] if last_repeat is None else [FIRST_REPEATS.format(last_repeat)]),
            *verdict(results.pairs),
            *filter(None, [sentence(judgement), began_busy(results.manifest), never_came(results.records)]),
        ]
        if len(results.pairs)
        else ["No trial has finished yet."],
        expected=expected_table(judgement),
        hub_cost=_hub_cost(results, plots, style),
        sections=sections,
        hosts=hosts_chapter(results),
        population=population_section(results, style, plots),
        chapters=chapters_of(sections),
        topology=_topology(results),
        trials=_trials(results, evidence),
        quality=quality_of(results.records, results.trials),
        seen=verdict_of(results.records),
        most_drawn=most_drawn,
        most_listed=MOST_LISTED,
        outcomes=OUTCOMES,
    )


def _sections(results: Results, plots: Path, style: Style, most_drawn: int) -> list[Section]:
    rows = results.pairs
    if rows.empty:
        return []
    look_of = looks([subject for subject, _ in groups(rows)])
    labels = condition_labels(rows)
    names = sorted(set(labels))
    samples_of = cache(partial(latency_samples, results.path, results.records))
    traffic = cache(partial(traffic_of, results.path, results.records))
    return [
        section_of(
            name,
            rows[labels == name],
            Raw(samples_of, traffic, results.phases),
            look_of,
            folder=plots if number < most_drawn else None,
            style=style,
            suffix=f"-{number + 1}" if len(names) > 1 else "",
        )
        for number, name in enumerate(names)
    ]


def _hub_cost(results: Results, plots: Path, style: Style) -> HubCost | None:
    """Return the chapter over all conditions of a run in which parties computed."""
    if results.pairs.empty:
        return None
    look_of = looks([subject for subject, _ in groups(results.pairs)])
    return hub_cost(results, look_of, folder=plots, style=style)


def _topology(results: Results) -> Drawing | None:
    """Return the drawing of the first trial's topology, which its job (or the plan) holds."""
    for trial in results.plan:
        topology = trial.get("topology") or _job_topology(results.path, str(trial.get("id")))
        if isinstance(topology, dict):
            behind = {host.get("via"): name for name, host in (topology.get("hosts") or {}).items()}
            names = {
                name: _nat_note(name, behind.get(name, ""), trial, results) for name in topology.get("routers") or {}
            }
            return draw_topology(topology, names)
    return None


def _job_topology(run_dir: Path, trial: str) -> Any:
    path = inside(run_dir, f"trials/{trial}/job.json")
    try:
        return None if path is None else json.loads(path.read_bytes())["trial"]["topology"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _nat_note(router: str, member: str, trial: Mapping[str, Any], results: Results) -> str:
    """Return the NAT of a member's router; where it was varied, the parameter's name: one trial's is one of many."""
    shared = {"ra": "nat_a", "rb": "nat_b", "rc": "nat_carrier"}.get(router, "nat")
    all_params = [other.get("params") or {} for other in (trial, *results.plan)]
    own = [(params.get("nats") or {}).get(member) for params in all_params]
    if shared not in all_params[0] and own[0] is None:
        return ""
    values = {
        canonical_value(params.get(shared) if of is None else of) for params, of in zip(all_params, own, strict=True)
    }
    return values.pop() if len(values) == 1 else shared if all(of is None for of in own) else "nats"


def listed_trials(results: Results) -> pd.DataFrame:
    """Return the trials that the page lists, those that are not ok first, since they are what one looks for."""
    if results.trials.empty:
        return results.trials
    table = results.trials.assign(trouble=results.trials["outcome"] != "ok")
    return table.sort_values(["trouble", "trial"], ascending=[False, True]).head(MOST_LISTED)


def _trials(results: Results, evidence: Evidence) -> list[dict[str, Any]]:
    table = listed_trials(results).copy()
    if table.empty:
        return []
    # A text that is missing is NaN to pandas, which a template would take for something to print.
    texts: list[str] = list(table.select_dtypes("str").columns)
    table[texts] = table[texts].fillna("")
    return [
        {str(key): value for key, value in row.items()} | {"files": evidence.of(str(row["trial"]), with_text=True)}
        for row in table.to_dict(orient="records")
    ]
