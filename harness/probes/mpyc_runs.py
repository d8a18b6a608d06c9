"""The MPyC probe: real multiparty computations between all members, whose own computing takes its time as well."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from typing import Any, Final, Literal, get_args

from pydantic import Field, PositiveInt

from harness.probes.contract import (
    Chapter,
    Column,
    Found,
    Measurement,
    Metric,
    Pair,
    Probe,
    ProbeSettings,
    Shown,
    Surroundings,
    Table,
    Target,
)
from harness.probes.gathering import require_all_pairs
from harness.probes.mpyc_cost import COSTS, cost_columns, cost_metrics, costs_of
from harness.probes.mpyc_log import Program, Ran
from harness.probes.mpyc_parties import START_S, run_program
from harness.probes.ordered import finite, of_all_sent

_PROGRAMS: Final[tuple[Program, ...]] = get_args(Program)
_USUAL: Final[Mapping[Program, int]] = {"derangement": 8, "dense": 16, "cnn": 1}
_WHAT: Final[Mapping[Program, str]] = {
    "derangement": "a secret santa draw",
    "dense": "a batch through two dense layers",
    "cnn": "an image through a convolutional network",
}
_GET: Final = ".venv/bin/python -m pip install -c constraints.txt -e '.[mpc]'"
_OURS: Final = "this project"
_TABLE: Final = "mpyc"


class MpycSettings(ProbeSettings):
    """MPyC programs run by all members: `derangement` (secret santa), `dense` (two dense layers), `cnn`.

    How many rounds a program takes is random, so each runs `fewest` to `most` times, until its median time is known to
    `precision`. `size` sets, by program, the size of the draw, the batch size, or the number of images. A program that
    is not done after `deadline_s` is ended; the runs it finished count. `baseline: none` leaves out the underlay.
    """

    programs: tuple[Program, ...] = Field(default=("derangement", "dense"), min_length=1)
    size: dict[Program, PositiveInt] = Field(default={})
    fewest: int = Field(default=5, ge=1, le=1000)
    most: int = Field(default=30, ge=1, le=1000)
    precision: float = Field(default=0.1, gt=0, le=1)
    deadline_s: float = Field(default=60.0, gt=0, le=3600)
    baseline: Literal["lab", "none"] = "lab"

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
        return len(self.programs) * (self.deadline_s + START_S)

    def words(self, program: Program) -> tuple[str, ...]:
        """Return what a party is told of a program: its size, the fewest and most runs, the precision."""
        return tuple(map(str, (self.size.get(program, _USUAL[program]), self.fewest, self.most, self.precision)))

    def conditions(self) -> dict[str, Any]:
        """Return the sizes that are not the usual ones: such runs are not repeats of others."""
        return {f"mpyc_{name}_size": value for name, value in self.size.items()}

    def missing(self) -> Mapping[str, str]:
        """Name MPyC, and gmpy2, without which its times are another program's."""
        return {f"the Python package {name}": _GET for name in ("mpyc", "gmpy2") if find_spec(name) is None}


def _metrics(name: Program) -> Iterator[Metric]:
    what = f"{_WHAT[name]} by MPyC"
    yield Metric(
        f"mpyc_{name}_s",
        "s",
        f"{what[0].upper()}{what[1:]} with all members as parties: median time of its runs in the trial. A run that "
        "was cut short by the probe's deadline or by the end of a party counts as infinite.",
        _OURS,
        better="lower",
        estimator="censored median",
        min_absolute=0.01,
        in_tables=True,
    )
    yield Metric(
        f"mpyc_{name}_underlay_s", "s", "The same without overlay, same lab.", _OURS, estimator="censored median"
    )
    yield Metric(
        f"mpyc_{name}_underlay_ratio",
        "1",
        f"Time of {what} as a multiple of the underlay's of the same lab.",
        _OURS,
        better="lower",
        estimator="censored median",
        multiple=True,
        min_absolute=0.05,
        in_tables=True,
    )
    yield Metric(f"mpyc_{name}_runs", "count", f"Number of completed runs of {what} in the trial.", _OURS)
    yield Metric(
        f"mpyc_{name}_sent_bytes",
        "B",
        f"Bytes of one party's MPyC messages for {what}, headers included: median.",
        _OURS,
    )
    yield from cost_metrics(name, what)


class MpycProbe(Probe[MpycSettings, tuple[Ran, ...]]):
    """All members at once; alone on the machine, whose processors the parties share."""

    name = "mpyc"
    order = 86
    settings = MpycSettings
    needs = frozenset({"interface"})
    turn = "exclusive"
    doing = "computing with MPyC"
    at_once = True
    metrics = tuple(metric for name in _PROGRAMS for metric in _metrics(name))
    shows = Shown(
        chapters=(Chapter(_TABLE, "MPyC programs", place=36),),
        tables=(
            Table(
                _TABLE,
                "MPyC programs",
                _TABLE,
                "Time of one run, and the same as a multiple of the underlay's. Both include the parties' own "
                "computing, for which they share this machine's processors.",
            ),
            Table(
                COSTS,
                "Cost of MPyC programs on the overlay",
                _TABLE,
                "IP bytes that the server and all members' sites send per byte of MPyC's messages, and CPU time of "
                "the overlay's processes for a run.",
            ),
        ),
        columns=tuple(
            column
            for name in _PROGRAMS
            for column in (
                Column(_TABLE, f"{name} (s)", f"mpyc_{name}_s", digits=3),
                Column(_TABLE, f"{name} / underlay", f"mpyc_{name}_underlay_ratio", of_underlay=False),
                *cost_columns(name),
            )
        ),
    )

    def measure(self, target: Target, settings: MpycSettings, trial: Surroundings) -> tuple[Ran, ...]:
        """Measure two parties."""
        return self.measure_all([target], settings, trial)[target.pair]

    def measure_all(
        self, targets: Sequence[Target], settings: MpycSettings, trial: Surroundings
    ) -> dict[Pair, tuple[Ran, ...]]:
        """Measure all parties, one program after the other.

        Raises:
            OverlayError: there is no endpoint for a pair.
        """
        require_all_pairs(targets, self.name)
        found = tuple(
            run_program(targets, name, settings.words(name), settings.deadline_s, trial) for name in settings.programs
        )
        return {target.pair: found for target in targets}

    def over_underlay(self, settings: MpycSettings) -> bool:
        """Tell whether the baseline is that of the lab."""
        return settings.baseline == "lab"

    def why_no_baseline(self, target: Target, found: tuple[Ran, ...], settings: MpycSettings) -> str | None:
        """Say which program came to a halt; one that is merely slow is a figure."""
        del target
        return next((why for one in found if (why := one.why_halted(settings.deadline_s)) is not None), None)

    def summarise(self, found: Found[tuple[Ran, ...]], settings: MpycSettings) -> list[Measurement]:
        """Return nothing: a computation belongs to all parties, not to a pair."""
        del found, settings
        return []

    def summarise_trial(self, found: Sequence[Found[tuple[Ran, ...]]], settings: MpycSettings) -> Iterator[Measurement]:
        """See `summarise_program`."""
        del settings
        below = {one.program: one for one in found[0].underlay or ()}
        for ran in found[0].overlay:
            yield from summarise_program(ran, below.get(ran.program))


def summarise_program(ran: Ran, below: Ran | None) -> Iterator[Measurement]:
    """Give the figures of one program. Pure."""

    def figure(what: str, unit: str, value: float | None, of: Ran = ran) -> Measurement:
        return Measurement(
            probe="mpyc",
            metric=f"mpyc_{ran.program}_{what}",
            unit=unit,
            value=value,
            evidence=of.evidence,
            error=of.why_not,
        )

    median_s = _median_s(ran)
    yield figure("s", "s", median_s)
    yield figure("runs", "count", float(len(ran.times_s)))
    if ran.sent_bytes:
        yield figure("sent_bytes", "B", float(statistics.median(ran.sent_bytes)))
    for what, unit, value in costs_of(ran):
        yield replace(figure(what, unit, value), evidence=None if ran.spent is None else ran.spent.evidence)
    if below is not None:
        below_s = _median_s(below)
        yield figure("underlay_s", "s", below_s, below)
        if below_s:
            yield figure("underlay_ratio", "1", None if median_s is None else median_s / below_s)


def _median_s(ran: Ran) -> float | None:
    """Return the median of all runs that were begun; None where it never ended."""
    times_s = of_all_sent([*ran.times_s, *([None] if ran.why_not or not ran.times_s else [])])
    return finite(statistics.median(times_s))
