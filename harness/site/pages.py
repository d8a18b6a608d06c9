"""The pages of a site as text. Pure but for the templates that are read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

from markupsafe import Markup, escape

from harness.report.html import listed_trials
from harness.report.order import subject_key
from harness.report.page import environment
from harness.report.plots.heatmap import FEW
from harness.report.tables import left_out, nat_pair, outcomes
from harness.report.verdict import listed
from harness.results.declared import Metric
from harness.results.metrics import is_of_a_path
from harness.site.costs import cost_tables
from harness.site.figures import Cell, trials_that_count
from harness.site.gather import Run, slug
from harness.site.tables import (
    choices,
    interval,
    is_share,
    metric_tables,
    number,
    success_tables,
    unit_of,
)
from harness.site.words import about

_ERROR_CHARACTERS = 160
_BETTER = {"higher": "higher is better", "lower": "lower is better", "neither": "neither is better"}


class Pages:
    """Renders the pages over some cells; `docs`: the documentation lies in the same site."""

    def __init__(self, runs: Sequence[Run], cells: Sequence[Cell], *, docs: bool) -> None:
        self._runs, self._cells, self._docs = runs, cells, docs
        self._environment = environment("harness.site")
        self._environment.filters |= {"slug": slug, "nat": _nat, "code": _code}

    def _page(self, template: str, root: str, **context: Any) -> str:
        return self._environment.get_template(template).render(root=root, docs=self._docs, **context)

    def assets(self) -> dict[str, str]:
        """Return what all pages load, by path."""
        script = files("harness.site").joinpath("templates", "site.js").read_text(encoding="utf-8")
        return {"style.css": self._page("site.css.j2", ""), "site.js": script}

    def front(self) -> str:
        """Return the scoreboard."""
        tables = success_tables(self._cells)
        return self._page(
            "index.html.j2",
            "",
            tables=tables,
            choices=choices(tables),
            few=FEW,
            overlays=[(name, _one_line(about(name).lead)) for name in self.overlays()],
            runs=[self._run(run) for run in self._runs],
            trials=_counted(self._runs),
            metrics=self.metrics(),
        )

    def overlays(self) -> list[str]:
        """Return the overlays that the runs have."""
        return sorted({cell.subject.overlay for cell in self._cells}, key=lambda name: subject_key((name, "")))

    def metrics(self) -> list[Metric]:
        """Return the metrics that any cell has a figure of, in the probes' order."""
        seen = {name for cell in self._cells for name, _ in cell.figures}
        found = {metric.name: metric for run in self._runs for metric in run.metrics if metric.name in seen}
        return list(found.values())

    def overlay(self, name: str) -> str:
        """Return an overlay's page."""
        own = [cell for cell in self._cells if cell.subject.overlay == name]
        tables, said = success_tables(own), about(name)
        return self._page(
            "overlay.html.j2",
            "../",
            name=name,
            about=said,
            deployed=[(what, _code(text)) for what, text in said.deployed],
            measured=_measured(self._runs, name),
            tables=tables,
            choices=choices(tables),
            costs=cost_tables(own),
        )

    def metric(self, metric: Metric) -> str:
        """Return a metric's page."""
        tables = metric_tables(self._cells, metric)
        facts = [
            ("unit", unit_of(metric)),
            ("defined by", metric.source or "-"),
            ("direction", _BETTER[metric.better]),
            ("smallest change that counts", _smallest(metric)),
        ]
        return self._page(
            "metric.html.j2",
            "../",
            metric=metric,
            facts=facts,
            share=is_share(metric),
            unit=unit_of(metric),
            by_path=is_of_a_path(metric.name),
            tables=tables,
            choices=choices(tables),
        )

    def cells(self, run: Run, overlay: str) -> str:
        """Return the page of an overlay's cells in a run."""
        linked = set(listed_trials(run.results)["trial"])
        own = [cell for cell in self._cells if cell.subject.run is run and cell.subject.overlay == overlay]
        return self._page(
            "cells.html.j2", "../../", run=run, overlay=overlay, cells=[_cell(cell, linked) for cell in own]
        )

    def _run(self, run: Run) -> dict[str, Any]:
        return {
            "key": run.key,
            "name": run.name,
            "started": run.started,
            "trials": len(run.results.trials),
            "troubles": left_out(run.results.trials["outcome"]),
            "commit": str(run.results.manifest.get("overlaybench_commit") or "")[:12],
            "machines": listed(sorted(set(run.pairs["machine"])), "; "),
            "overlays": [name for name in self.overlays() if name in set(run.pairs["overlay"])],
        }


def _counted(runs: Sequence[Run]) -> str:
    """Return how many trials there are, those of labs apart from simulated ones."""
    simulated = sum(int((run.results.trials["engine"] == "simulated").sum()) for run in runs)
    in_labs = sum(len(run.results.trials) for run in runs) - simulated
    return listed([f"{n} {what}" for n, what in ((in_labs, "trials in labs"), (simulated, "simulated")) if n])


def _measured(runs: Sequence[Run], name: str) -> list[dict[str, Any]]:
    rows = []
    for run in runs:
        for version, group in run.pairs[run.pairs["overlay"] == name].groupby("version", sort=True):
            row = {
                "version": version,
                "run": run,
                "modes": listed(sorted(set(group["mode"]))),
                "trials": group["trial"].nunique(),
                "troubles": left_out(outcomes(group)),
                "machines": listed(sorted(set(group["machine"])), "; "),
            }
            rows.append(row)
    return rows


def _cell(cell: Cell, linked: set[str]) -> dict[str, Any]:
    of_name = {metric.name: metric for metric in cell.subject.run.metrics}
    figures = [
        {
            "name": name,
            "path": path,
            "text": f"{100 * one.value:.0f} %" if is_share(of_name[name]) else number(one.value, of_name[name]),
            "interval": interval(one, of_name[name]),
            "n": one.n,
            "unit": "" if of_name[name].unit == "1" else of_name[name].unit,
        }
        for (name, path), one in cell.figures.items()
    ]
    trials = [
        {
            "name": trial,
            "linked": trial in linked,
            "outcome": rows["outcome"].iloc[0],
            "path": ", ".join(sorted({path for path in rows["path"] if path})),
            "error": _one_line(str(rows["error"].iloc[0]) if isinstance(rows["error"].iloc[0], str) else ""),
        }
        for trial, rows in cell.rows.groupby("trial", sort=False)
    ]
    return {
        "anchor": cell.anchor,
        "title": f"{cell.subject.name}, {nat_pair(*cell.nats)}",
        "condition": cell.condition.title,
        "version": cell.subject.version,
        "machine": cell.subject.machine,
        "counted": trials_that_count(cell),
        "figures": figures,
        "trials": trials,
    }


def _smallest(metric: Metric) -> str:
    if metric.better == "neither":
        return "-"
    text = f"{100 * metric.min_effect:.0f} {'points' if is_share(metric) else '%'}"
    return f"{text}, at least {metric.min_absolute:g} {metric.unit}" if metric.min_absolute else text


def _nat(label: str) -> str:
    return label or "no NAT"


def _code(text: str) -> Markup:
    """Return text with what stands between backticks as code, all else as it is."""
    return Markup(re.sub(r"`+([^`]+)`+", r"<code>\1</code>", str(escape(text))))  # escaped here


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _ERROR_CHARACTERS else f"{line[:_ERROR_CHARACTERS]} ..."
