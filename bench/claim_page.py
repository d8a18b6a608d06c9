"""The figures of docs/claim.md, from the published folders; none is written by hand. `bench.published` sets them in."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import pandas as pd

from harness.model.nat_order import nat_rank
from harness.report.facts import machine, reproduce
from harness.report.hubcost import hub_cost
from harness.report.markup import to_markdown
from harness.report.order import subject_name
from harness.report.tables import TextTable, left_out, outcomes
from harness.results.alldirect import expected_all_direct
from harness.results.cells import cells, counted_values
from harness.results.loading import Results, load

_PLACE = re.compile(r"(<!-- figures: ([a-z-]+) -->\n).*?(<!-- end of figures -->)", re.DOTALL)
_UNMEASURED = "*Not measured yet: `python -m bench.claim run`, then `python -m bench.claim publish`.*"
_SIZES = (2, 3, 5, 8, 10)


def filled(text: str, results: Path) -> str:
    """Return the page with every place for figures filled from the folders below `results`.

    Raises:
        KeyError: the page has a place for figures that there are none of.
    """
    return _PLACE.sub(lambda place: f"{place[1]}{_FIGURES[place[2]](results).strip()}\n{place[3]}", text)


def _of_claim(name: str, title: str) -> Callable[[Path], str]:
    """One table of a published folder."""

    def figures(results: Path) -> str:
        run = _loaded(results / name)
        chapter = None if run is None else hub_cost(run)
        tables = [] if chapter is None else [one for one in chapter.tables if one.title == title]
        return "\n\n".join(f"{to_markdown(one)}\n{one.note}" for one in tables) or _UNMEASURED

    return figures


def _verdict(results: Path) -> str:
    parts = []
    for name in ("claim", "claim-outage"):
        run = _loaded(results / name)
        if run is not None and (chapter := hub_cost(run)) is not None:
            parts.append(
                "\n".join([f"In [results/{name}](../results/{name}):\n", *(f"- {one}" for one in chapter.sentences)])
            )
    return "\n\n".join(parts) or _UNMEASURED


def _plots(results: Path) -> str:
    found = [
        path for name in ("claim", "claim-outage") for path in sorted((results / name / "plots").glob("hub-*.svg"))
    ]
    return "\n".join(f"![{path.stem}](../results/{path.parts[-3]}/plots/{path.name})" for path in found) or _UNMEASURED


def _circumstances(results: Path) -> str:
    rows = []
    for name in ("claim", "claim-outage"):
        run = _loaded(results / name)
        if run is not None:
            facts = dict(machine(run.manifest)[:8] + reproduce(run.manifest))
            chosen = (
                "CPU",
                "CPUs",
                "load average at the start (1 min)",
                "kernel",
                "commit",
                "command",
                "started",
                "ended",
            )
            spoilt = left_out(outcomes(run.pairs)) or "all ok"
            rows += [(f"{name}: trials", f"{run.pairs['trial'].nunique()} ({spoilt})")]
            rows += [(f"{name}: {what}", facts[what]) for what in chosen if what in facts]
    return to_markdown(TextTable("", ("", ""), tuple(rows))) if rows else _UNMEASURED


def _mixed_nats(results: Path) -> str:
    """How likely all pairs are direct when NATs are drawn evenly, from the pairs that results/nat-matrix measured."""
    run = _loaded(results / "nat-matrix")
    if run is None:
        return "*results/nat-matrix is missing.*"
    rates = _pair_rates(run.records)
    nats = sorted({name for of in rates.values() for pair in of for name in pair}, key=nat_rank)
    mix = {name: 1 / len(nats) for name in nats}
    rows = [
        (subject_name(*subject), *(f"{100 * expected_all_direct(of, mix, n):.0f} %" for n in _SIZES))
        for subject, of in sorted(rates.items())
        if len(of) == len(nats) * (len(nats) + 1) // 2
    ]
    note = (
        f"NATs drawn evenly from {', '.join(nats)}. This mix was chosen to compare products; it says nothing about "
        "what users have."
    )
    table = TextTable("", ("overlay", *(f"n = {n}" for n in _SIZES)), tuple(rows), frozenset(range(1, 6)), note)
    return f"{to_markdown(table)}\n{note}"


def _pair_rates(records: pd.DataFrame) -> dict[tuple[str, str], Mapping[tuple[str, str], float]]:
    frame = cells(records.reset_index(drop=True))
    frame["value"] = counted_values(frame)
    rows = frame[(frame["metric"] == "hole_punch_success") & frame["value"].notna()]
    found: dict[tuple[str, str], dict[tuple[str, str], float]] = defaultdict(dict)
    for (overlay, mode, nat_a, nat_b), group in rows.groupby(["overlay", "mode", "nat_a", "nat_b"], sort=True):
        found[str(overlay), str(mode)][str(nat_a), str(nat_b)] = float(group["value"].mean())
    return dict(found)


def _loaded(folder: Path) -> Results | None:
    return load(folder) if (folder / "manifest.json").exists() else None


_FIGURES: dict[str, Callable[[Path], str]] = {
    "verdict": _verdict,
    "completion": _of_claim("claim", "Completion time by parties"),
    "cost": _of_claim("claim", "Hub and relay against mesh"),
    "crossover": _of_claim("claim", "Where the server's link becomes the bottleneck"),
    "outage": _of_claim("claim-outage", "When the server dies"),
    "all-direct": _of_claim("claim", "All pairs direct, by parties"),
    "mixed-nats": _mixed_nats,
    "plots": _plots,
    "circumstances": _circumstances,
}
