"""The fairness probe: several pairs fill the network at once; what each gets of it, and how equally.

Parties of a computation send to all others at the same time. Jain's index of the pairs' goodputs is 1 where all get the
same and 1/n where one of n pairs gets everything. Links that differ make unequal shares as well, so the same is
measured without the overlay.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import Field

from harness.errors import OverlayError
from harness.probes.allflows import Flow, watch
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
from harness.probes.iperf3 import PORT, client_of, server_of
from harness.probes.measurement import figure_of
from harness.probes.together import evidence_of, no_common_time


@dataclass(frozen=True)
class Shares:
    """Mbit/s of TCP goodput, src to dst, of every pair while all of them sent; `evidence` is the file of all.

    `why_not`: they did not all send at once, so that these are no shares; empty where they did. `dead`: what was not
    carried to its end, by pair.
    """

    mbit: tuple[tuple[Pair, float], ...]
    evidence: str
    why_not: str = ""
    dead: tuple[str, ...] = ()

    def of(self, pair: Pair) -> float:
        """Return a pair's goodput in Mbit/s."""
        return dict(self.mbit)[pair]

    @property
    def total(self) -> float:
        """All pairs' goodput together, in Mbit/s."""
        return sum(mbit for _, mbit in self.mbit)


# What a server says is flushed with its reports: so that it is known within 0.1 s that it has taken a connection.
_SOON = ("-i", "0.1")


class FairnessSettings(ProbeSettings):
    """TCP goodput of all pairs of members at once (iperf3, src to dst), and how equally they share.

    Only what receivers get while all pairs send counts: from `omit_s` after the last pair has begun until the first one
    ends. A pair that has not begun after half of `duration_s` is not waited for; it counts as 0 until it begins. The
    probe needs three members or more, as in `parties`. `baseline` measures the same over the underlay, once the overlay
    has stopped. All programs share one machine, so with many pairs its processors may be what they compete for.
    """

    duration_s: int = Field(default=5, ge=1, le=3600)
    omit_s: int = Field(default=2, ge=0, le=60)
    baseline: bool = True

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
        return self.duration_s + self.omit_s + 2.0


class FairnessProbe(Probe[FairnessSettings, Shares]):
    """TCP of all pairs at once, over interfaces and streams alike."""

    name = "fairness"
    order = 45
    settings = FairnessSettings
    needs = frozenset({"interface", "stream"})
    turn = "exclusive"
    doing = "filling all pairs at once"
    at_once = True
    metrics = (
        Metric(
            "concurrent_jain_index",
            "1",
            "Jain's fairness index of the pairs' TCP goodputs while all pairs of members send: 1 if all get the "
            "same, 1/n if one of n gets everything. Missing, with the reason, if all sent at once for too short a "
            "time.",
            "Jain, Chiu and Hawe 1984; RFC 5166",
            better="higher",
            min_effect=0.05,
            in_tables=True,
        ),
        Metric(
            "concurrent_tcp_mbit",
            "Mbit/s",
            "TCP goodput from src to dst while all other pairs of members send as well. A pair that cannot connect, "
            "has not begun yet or was cut off counts as 0.",
            "RFC 6349",
            better="higher",
            in_tables=True,
        ),
        Metric(
            "concurrent_tcp_share",
            "1",
            "A pair's share of the TCP goodput of all pairs while all send at once.",
            "this project",
            in_tables=True,
        ),
        Metric(
            "concurrent_tcp_total_mbit",
            "Mbit/s",
            "TCP goodput of all pairs of members together while all send at once.",
            "RFC 6349",
            better="higher",
            in_tables=True,
        ),
        Metric(
            "underlay_concurrent_jain_index",
            "1",
            "The same index without overlay, in the same lab.",
            "Jain, Chiu and Hawe 1984; RFC 5166",
            in_tables=True,
        ),
        Metric(
            "concurrent_tcp_total_ratio",
            "1",
            "TCP goodput of all pairs at once through the overlay, as a share of the underlay's in the same lab.",
            "RFC 6349",
            better="higher",
            in_tables=True,
        ),
    )
    shows = Shown(
        chapters=(Chapter("concurrent", "All pairs at once", place=35),),
        tables=(
            Table(
                "concurrent",
                "Goodput and fairness of all pairs at once",
                "concurrent",
                "TCP between all pairs of members at the same time. Jain's index is 1 if all get the same. Unequal "
                "links lead to unequal shares as well, so compare it with the underlay's index.",
            ),
        ),
        columns=(
            Column("concurrent", "Jain's index", "concurrent_jain_index", digits=3),
            Column("concurrent", "underlay's index", "underlay_concurrent_jain_index", digits=3, of_underlay=False),
            Column("concurrent", "Mbit/s per pair", "concurrent_tcp_mbit", digits=1),
            Column("concurrent", "Mbit/s of all", "concurrent_tcp_total_mbit", digits=1),
            Column("concurrent", "share of underlay's", "concurrent_tcp_total_ratio", "percent", of_underlay=False),
        ),
    )

    def measure(self, target: Target, settings: FairnessSettings, trial: Surroundings) -> Shares:
        """Measure one pair alone."""
        return self.measure_all([target], settings, trial)[target.pair]

    def measure_all(
        self, targets: Sequence[Target], settings: FairnessSettings, trial: Surroundings
    ) -> dict[Pair, Shares]:
        """Fill all pairs at once.

        A pair whose iperf3 cannot connect or is cut off while others carry something got nothing, and one that connects
        late nothing until then: left out, the trials that share worst would have no figure.

        Raises:
            OverlayError: no pair's iperf3 came to its end.
        """
        del trial
        arguments = ["-J", "-t", str(settings.duration_s), "-O", str(settings.omit_s)]
        with contextlib.ExitStack() as stack:
            servers = [
                stack.enter_context(server_of(target, "iperf3-at-once-server", PORT + number, _SOON))
                for number, target in enumerate(targets)
            ]
            # All servers start before the first client: the pairs begin shortly after each other.
            flows = []
            for target, server in zip(targets, servers, strict=True):
                client = client_of(target, server, arguments, "iperf3-at-once.json")
                stack.callback(client.stop)
                flows.append(Flow(target, server, client))
            senders = watch(flows, settings.omit_s, settings.duration_s)
        if all(sender.after is None and sender.error for sender in senders):
            raise OverlayError(senders[0].error)
        why = no_common_time(senders, settings.duration_s)
        evidence = targets[0].folder / f"{targets[0].label}-at-once.json"
        evidence.write_text(json.dumps(evidence_of(senders, why), indent=1))
        dead = tuple(sender.why_dead for sender in senders if sender.why_dead is not None)
        shares = Shares(tuple((sender.pair, sender.mbit) for sender in senders), str(evidence), why, dead)
        return {target.pair: shares for target in targets}

    def over_underlay(self, settings: FairnessSettings) -> bool:
        """Tell whether the baseline is measured."""
        return settings.baseline

    def why_no_baseline(self, target: Target, found: Shares, settings: FairnessSettings) -> str | None:
        """Say which pairs' TCP did not come to its end: a pair that got nothing is no share of anything."""
        del target, settings
        return "; ".join(found.dead) or None

    def summarise(self, found: Found[Shares], settings: FairnessSettings) -> list[Measurement]:
        """Return what one pair got; nothing where there is but one, which has no other to share with."""
        del settings
        shares = found.overlay
        if len(shares.mbit) < 2 or shares.why_not:
            return []
        mbit = shares.of(found.target.pair)
        share = mbit / shares.total if shares.total else None
        figure = figure_of(found.target, self.name, shares.evidence)
        return [figure("concurrent_tcp_mbit", mbit), figure("concurrent_tcp_share", share)]

    def summarise_trial(self, found: Sequence[Found[Shares]], settings: FairnessSettings) -> list[Measurement]:
        """Return Jain's index and all pairs' goodput, of the underlay as well."""
        del settings
        over, under = found[0].overlay, found[0].underlay
        figure = figure_of(None, self.name, over.evidence)
        if len(over.mbit) < 2:
            why = "one pair of members alone has no other to share with: fairness needs three members or more"
            return [replace(figure("concurrent_jain_index", None), outcome="unsupported", error=why)]
        if over.why_not:
            return [replace(figure("concurrent_jain_index", None), outcome="error", error=over.why_not)]
        figures = [
            figure("concurrent_jain_index", jain_index(mbit for _, mbit in over.mbit)),
            figure("concurrent_tcp_total_mbit", over.total),
        ]
        if under is not None and under.why_not:
            untold = figure("underlay_concurrent_jain_index", None, Path(under.evidence))
            figures.append(replace(untold, outcome="error", error=under.why_not))
        elif under is not None:
            index = jain_index(mbit for _, mbit in under.mbit)
            figures.append(figure("underlay_concurrent_jain_index", index, Path(under.evidence)))
            if under.total:
                figures.append(figure("concurrent_tcp_total_ratio", over.total / under.total))
        return figures


def jain_index(values: Iterable[float]) -> float | None:
    """Return (sum of x)^2 / (n * sum of x^2); None where no pair got anything. Pure (Jain, Chiu, Hawe 1984)."""
    shares = list(values)
    squares = sum(one * one for one in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else None
