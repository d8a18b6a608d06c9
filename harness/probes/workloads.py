"""The workloads of the probe `rounds`, and what is measured of each: the same metrics, once a workload. Pure.

Bytes and rounds are those of MPyC programs with three parties, measured: a secret santa derangement, one image through
a convolutional network, and a dense layer with a batch of 16.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, get_args

from harness.results.declared import Column, Metric, Plot

WorkloadName = Literal["chatty", "mixed", "bulk"]


@dataclass(frozen=True)
class Workload:
    """`rounds` rounds, in each of which everybody sends `payload_bytes` to everybody else."""

    name: WorkloadName
    payload_bytes: int
    rounds: int
    like: str


WORKLOADS: Final[dict[WorkloadName, Workload]] = {
    one.name: one
    for one in (
        Workload("chatty", 32, 150, "many small rounds, as comparisons and permutations make them"),
        Workload("mixed", 35_000, 100, "a convolutional network"),
        Workload("bulk", 500_000, 17, "a dense layer of a batch"),
    )
}
NAMES: Final[tuple[WorkloadName, ...]] = get_args(WorkloadName)

OURS: Final = "this project"
TABLE, CHAPTER = "rounds", "rounds"


def metrics_of(name: WorkloadName) -> Iterator[Metric]:
    """Yield everything that is measured of a workload."""

    def metric(what: str, unit: str, definition: str, **more: object) -> Metric:
        return Metric(f"{name}_{what}", unit, definition, OURS, **more)  # type: ignore[arg-type]

    lower = {"better": "lower"}
    yield metric(
        "completion_s",
        "s",
        f"Time for all rounds of the workload `{name}`, from the moment at which the last party began until the last "
        "has finished. Censored at the probe's deadline.",
        estimator="censored median",
        in_tables=True,
        min_absolute=0.02,
        **lower,
    )
    yield metric(
        "underlay_completion_s", "s", "The same without overlay, in the same lab.", estimator="censored median"
    )
    yield metric(
        "underlay_ratio",
        "1",
        f"Completion time of `{name}` through the overlay as a multiple of the underlay's in the same lab. A "
        "workload that was not completed counts as infinite.",
        estimator="censored median",
        multiple=True,
        in_tables=True,
        min_absolute=0.05,
        **lower,
    )
    yield metric(
        "round_p50_ms",
        "ms",
        f"Duration of a round of `{name}`: median over its rounds. Rounds that were not completed count as infinite.",
        estimator="censored median",
        min_absolute=0.5,
        **lower,
    )
    yield metric(
        "round_p95_ms",
        "ms",
        f"Duration of a round of `{name}`: 95th percentile, if there are 20 rounds or more. Rounds that were not "
        "completed count as infinite.",
        estimator="censored median",
        min_absolute=1.0,
        **lower,
    )
    yield metric("rounds_done", "count", f"Rounds of `{name}` that all parties finished.", better="higher")
    yield metric(
        "server_bytes_per_byte",
        "B/B",
        f"IP bytes that the server sent, per byte that parties sent each other in `{name}`.",
        min_effect=0.02,
        **lower,
    )
    yield metric(
        "member_bytes_per_byte",
        "B/B",
        f"IP bytes that the members' sites sent, per byte that parties sent each other in `{name}`.",
        min_effect=0.02,
        **lower,
    )
    yield metric(
        "server_cpu_s",
        "s",
        f"CPU time of the overlay's processes on the server during `{name}`.",
        min_absolute=0.05,
        **lower,
    )
    yield metric(
        "waited_relayed_ratio",
        "1",
        f"Share of the rounds of `{name}` whose last data came from a pair without a direct path.",
        min_absolute=0.05,
    )
    yield metric(
        "probe_cpu_ms",
        "ms",
        f"CPU time in user mode per round of `{name}`, of all parties of the probe together: the cost of the probe "
        "itself.",
        of_instrument=True,
    )
    yield metric(
        "probe_kernel_ms",
        "ms",
        f"CPU time in the kernel per round of `{name}`, of all parties together: TCP's and the links' work, as for "
        "any program that sends as much.",
        of_instrument=True,
    )


def columns_of(name: WorkloadName) -> tuple[Column, ...]:
    """Return the columns of a workload in the table of the probe."""
    return (
        Column(TABLE, f"{name} (s)", f"{name}_completion_s"),
        Column(TABLE, f"{name} / underlay", f"{name}_underlay_ratio", of_underlay=False),
    )


def plots_of(name: WorkloadName) -> tuple[Plot, ...]:
    """Return the picture of a workload."""
    return (Plot("strip", CHAPTER, f"{name}_completion_s", f"Completion time, {name}", label="all rounds (s)"),)
