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
from harness.report.facts import asked, machine, reproduce
from harness.report.hubcost import HubCost, hub_cost
from harness.report.page import render
from harness.report.plots.style import SCREEN, Style, looks
from harness.report.population import population_section
from harness.report.quality import quality_of
from harness.report.sections import MOST_DRAWN, Raw, Section, chapters_of, section_of
from harness.report.tables import groups
from harness.report.topology import Drawing, draw_topology
from harness.report.verdict import verdict
from harness.results.conditions import canonical_value, condition_labels
from harness.results.files import write_atomically
from harness.results.loading import Results, load
from harness.results.samples import inside, latency_samples
from harness.results.tabulate import write_summary
from harness.results.traffic import traffic_of

# Simulated runs have tens of thousands of trials; what is not listed is in the tables.
MOST_LISTED = 2000


def write_report(run_dir: Path, style: Style = SCREEN) -> Path:
    """Write DIR/report.html, DIR/plots/*, and DIR/summary.csv where it is missing; return the page's path.

    Needs no privileges and nothing but DIR. Raises ResultFolderError when DIR is no result folder.
    """
    results = load(run_dir)
    sections = _sections(results, style)
    judgement = judged(results)
    page = render(
        "report.html.j2",
        results=results,
        manifest=results.manifest,
        asked=asked(results),
        machine=machine(results.manifest),
        reproduce=reproduce(results.manifest),
        verdict=[*verdict(results.pairs), *filter(None, [sentence(judgement)])]
        if len(results.pairs)
        else ["No trial has finished yet."],
        expected=expected_table(judgement),
        hub_cost=_hub_cost(results, style),
        sections=sections,
        population=population_section(results, style),
        chapters=chapters_of(sections),
        topology=_topology(results),
        trials=_trials(results),
        quality=quality_of(results.records, results.trials),
        most_drawn=MOST_DRAWN,
        most_listed=MOST_LISTED,
        outcomes=OUTCOMES,
    )
    if not (summary := results.path / "summary.csv").exists():
        write_summary(results.records, summary)
    path = results.path / "report.html"
    write_atomically(path, page.encode())
    return path


def _sections(results: Results, style: Style) -> list[Section]:
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
            folder=results.path / "plots" if number < MOST_DRAWN else None,
            style=style,
            suffix=f"-{number + 1}" if len(names) > 1 else "",
        )
        for number, name in enumerate(names)
    ]


def _hub_cost(results: Results, style: Style) -> HubCost | None:
    """Return the chapter over all conditions of a run in which parties computed."""
    if results.pairs.empty:
        return None
    look_of = looks([subject for subject, _ in groups(results.pairs)])
    return hub_cost(results, look_of, folder=results.path / "plots", style=style)


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


def _trials(results: Results) -> list[dict[str, Any]]:
    """Return the trials, those that are not ok first, since they are what one looks for."""
    evidence = Evidence(results.path)
    table = results.trials.assign(trouble=results.trials["outcome"] != "ok") if len(results.trials) else pd.DataFrame()
    if table.empty:
        return []
    # A text that is missing is NaN to pandas, which a template would take for something to print.
    texts: list[str] = list(table.select_dtypes("str").columns)
    table[texts] = table[texts].fillna("")
    ordered = table.sort_values(["trouble", "trial"], ascending=[False, True]).head(MOST_LISTED)
    return [
        {str(key): value for key, value in row.items()} | {"files": evidence.of(str(row["trial"]), with_text=True)}
        for row in ordered.to_dict(orient="records")
    ]
