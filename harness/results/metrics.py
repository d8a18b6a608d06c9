"""The metrics: what each is, its unit, which way is better, and how it is estimated (results/README.md says more).

python -m harness.results.metrics      writes the table in results/README.md

Those of the trial, the lab and the deployment stand here; all others are declared by the probes that measure them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from harness.errors import MissingPrerequisite
from harness.model.extensions import extensions
from harness.results.declared import Metric, OfCell, Shown

_PROBES = "overlaybench.probes"

TRIAL_SUCCESS = "trial_success"

_OWN = (
    Metric(
        "duration_s",
        "s",
        "Wall time of the trial, sandbox included; its record is the last of the trial.",
        "this project",
        in_tables=True,
        of_instrument=True,
    ),
    Metric(
        TRIAL_SUCCESS,
        "1",
        "1 if a trial ended ok, 0 if it failed. Derived from outcomes by `compare` and `expect:`; no record has it.",
        "this project",
        better="higher",
        estimator="proportion",
    ),
    Metric("lab_start_s", "s", "From the worker's start until nodes, routers and links are up.", "this project"),
    Metric(
        "nat_check_s", "s", "Duration of the check of every router's NAT, before the overlay starts.", "this project"
    ),
    Metric(
        "fixed_overhead_s",
        "s",
        "From the worker's start to the first probe, without the time that the overlay takes to start.",
        "this project",
        in_tables=True,
        of_instrument=True,
    ),
    Metric(
        "link_lateness_p99_us",
        "us",
        "Delay with which the link emulator sent packets after they were due: 99th percentile over the whole trial.",
        "this project",
        in_tables=True,
        of_instrument=True,
    ),
    Metric(
        "repeated_measurements",
        "count",
        "Number of measurements that were discarded because a link was late, and repeated.",
        "this project",
    ),
    Metric(
        "time_to_ready_s",
        "s",
        "From the first daemon's start until every daemon met its readiness condition.",
        "this project",
        better="lower",
        min_absolute=0.1,
        in_tables=True,
    ),
)


@cache
def shown() -> dict[str, Shown]:
    """Return what each probe adds to terminal and report, by probe, in the probes' order."""
    return {name: probe.shows for name, probe in extensions(_PROBES).items()}


@cache
def metrics_of_probes() -> dict[str, tuple[str, ...]]:
    """Return the metrics of each probe, by the probe's name in a scenario."""
    return {name: tuple(metric.name for metric in probe.metrics) for name, probe in extensions(_PROBES).items()}


@cache
def compared_with_cell() -> dict[str, tuple[OfCell, ...]]:
    """Return what each probe can compare with the underlay's own trial, by the probe's name in a scenario."""
    return {name: probe.of_cell for name, probe in extensions(_PROBES).items()}


@cache
def _all() -> dict[str, Metric]:
    metrics = {metric.name: metric for metric in _OWN}
    for name, probe in extensions(_PROBES).items():
        for metric in probe.metrics:
            if metric.name in metrics:
                raise MissingPrerequisite(
                    f"a metric {metric.name} of probe {name} alone: there is another of that name",
                    "rename it in the probe, then pip install -e .",
                )
            metrics[metric.name] = metric
    return metrics


class _Metrics(Mapping[str, Metric]):
    """All metrics by name. Probes are loaded on first use, so that a probe's module may import this one."""

    def __getitem__(self, name: str) -> Metric:
        return _all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_all())

    def __len__(self) -> int:
        return len(_all())


METRICS: Mapping[str, Metric] = _Metrics()


def planned(punches: bool, pairs: int) -> list[tuple[str, bool]]:
    """Return what the path probe reports of every trial; a trial without it has failed at it.

    Args:
        punches: whether the mode tries to punch holes.
        pairs: how many pairs of members there are.

    Returns:
        Each metric, and whether there is one of every pair, not one of the whole trial.
    """
    names = [("connect", "full"), *([("direct", "direct")] if punches else [])]
    each = ["connect_success", *(["hole_punch_success"] if punches else [])]
    each += [f"{start}_to_{what}_s" for what, _ in names for start in ("time", "ready")]
    whole = [f"time_to_{mesh}_mesh_s" for _, mesh in names] if pairs > 1 else []
    return [*((name, True) for name in each), *((name, False) for name in whole)]


def metric_of(name: str, unit: str = "") -> Metric:
    """Return the metric's entry; one that no installed probe declares is a plain median of unknown direction."""
    return METRICS.get(name) or Metric(name, unit, "", "")


def is_of_a_path(name: str) -> bool:
    """Tell whether a metric's values are what a path costs, so that those of several paths are never pooled.

    All that probes measure is, but for successes and the path probe's times, which are about the paths themselves.
    """
    own = {metric.name for metric in _OWN}
    return name not in {*own, *metrics_of_probes().get("path", ())} and metric_of(name).estimator != "proportion"


def metrics_in_tables() -> list[Metric]:
    """Return the metrics that tables and plots show, those of the instrument last."""
    return sorted((metric for metric in METRICS.values() if metric.in_tables), key=lambda metric: metric.of_instrument)


def reference_table() -> str:
    """Return all metrics as the Markdown table of results/README.md."""
    rows = ["| Metric | Unit | Definition | Source | Better | Minimum effect |", "|---|---|---|---|---|---|"]
    for metric in METRICS.values():
        unit = metric.unit if metric.unit != "1" else "ratio" if metric.multiple else "ratio, 0 to 1"
        effect = "-"
        if metric.better != "neither":
            effect = f"{100 * metric.min_effect:.0f} {'points' if metric.estimator == 'proportion' else '%'}"
            if metric.min_absolute:
                effect += f", at least {metric.min_absolute:g}{'' if metric.unit == '1' else ' ' + metric.unit}"
        cells = (f"`{metric.name}`", unit, metric.definition, metric.source, metric.better, effect)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def main() -> None:
    """Write the table."""
    page = Path(__file__).resolve().parents[2] / "results" / "README.md"
    before, _, rest = page.read_text(encoding="utf-8").partition("<!-- metrics -->\n")
    after = rest[rest.index("<!-- end of metrics -->") :]
    page.write_text(f"{before}<!-- metrics -->\n{reference_table()}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
