"""The mtu_watch probe: the largest packet that a path carries, over time: does it change, and when does it settle?

A product may start small and probe upwards (RFC 8899), or learn of a smaller path when packets vanish; one look tells
what it carried at that moment alone.
"""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydantic import Field

from harness.probes.contract import (
    Column,
    Found,
    Measurement,
    Metric,
    Probe,
    ProbeSettings,
    Shown,
    Surroundings,
    Target,
)
from harness.probes.measurement import figure_of
from harness.probes.mtu import Way, search


@dataclass(frozen=True)
class Look:
    """What one search found: bytes of IP packet, None: not even the smallest, and when it began, s after the first."""

    at_s: float
    carried: int | None


@dataclass(frozen=True)
class Looks:
    """All looks at one direction, in their order; `evidence` is the file."""

    looks: tuple[Look, ...]
    evidence: str


class MtuWatchSettings(ProbeSettings):
    """The path MTU from src to dst over time: for `duration_s`, it is searched every `every_s` as the probe `mtu` does.

    One search takes about a dozen pings. If packets of some size vanish silently, each of these pings waits for
    `timeout_s`, and is tried `attempts` times.
    """

    duration_s: float = Field(default=30.0, gt=0, le=3600)
    every_s: float = Field(default=3.0, ge=0, le=600)
    attempts: int = Field(default=2, ge=1, le=20)
    timeout_s: float = Field(default=0.5, ge=0.1, le=10)

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair: the last search begins before the end."""
        return self.duration_s + 12 * self.attempts * self.timeout_s


class MtuWatchProbe(Probe[MtuWatchSettings, Looks]):
    """Pings with the don't-fragment bit, so an interface; the first look follows the path probe at once."""

    name = "mtu_watch"
    order = 3
    settings = MtuWatchSettings
    needs = frozenset({"interface"})
    turn = "shared"
    doing = "watching the path MTU"
    minds_lateness = False
    metrics = (
        Metric(
            "path_mtu_settled_s",
            "s",
            "From the first measurement of the path MTU to the one from which on all gave the same result. Censored "
            "if the last one differed or had no answer.",
            "RFC 8899, by analogy",
            better="lower",
            estimator="censored median",
            min_absolute=3.0,
            in_tables=True,
        ),
        Metric(
            "path_mtu_changes",
            "count",
            "How often a measurement gave another path MTU than the one before it.",
            "this project",
            better="lower",
            min_absolute=1.0,
            in_tables=True,
        ),
        Metric(
            "path_mtu_first_bytes",
            "B",
            "Largest IP packet whose echo came back unfragmented, at the first measurement.",
            "RFC 1191, RFC 8899",
            better="higher",
            min_effect=0.01,
            in_tables=True,
        ),
        Metric(
            "path_mtu_last_bytes",
            "B",
            "The same at the last measurement.",
            "RFC 1191, RFC 8899",
            better="higher",
            min_effect=0.01,
            in_tables=True,
        ),
    )
    shows = Shown(
        columns=(
            Column("sizes", "first carried", "path_mtu_first_bytes", digits=0),
            Column("sizes", "last carried", "path_mtu_last_bytes", digits=0),
            Column("sizes", "settled after (s)", "path_mtu_settled_s", digits=0),
            Column("sizes", "changes", "path_mtu_changes", digits=0),
        ),
    )

    def measure(self, target: Target, settings: MtuWatchSettings, trial: Surroundings) -> Looks:
        """Search again and again.

        Raises:
            OverlayError: there is no route to the peer.
        """
        del trial
        way = Way(target, settings.attempts, settings.timeout_s, target.src, target.destination, "mtu-watch")
        offered, patience = way.offered(), way.patience()
        looks: list[Look] = []
        first = time.monotonic()
        while not looks or time.monotonic() - first < settings.duration_s:
            began = time.monotonic()
            looks.append(
                Look(round(began - first, 3), search(offered, lambda size: way.fate_of(size, patience)).carried)
            )
            left = first + settings.duration_s - time.monotonic()
            time.sleep(max(0.0, min(began + settings.every_s - time.monotonic(), left)))
        evidence = target.evidence("mtu-watch.csv")
        evidence.write_text(to_csv(looks))
        return Looks(tuple(looks), str(evidence))

    def summarise(self, found: Found[Looks], settings: MtuWatchSettings) -> list[Measurement]:
        """Return the first and the last size, the changes between them and when the last began to hold."""
        del settings
        looks = found.overlay.looks
        figure = figure_of(found.target, self.name, found.overlay.evidence)
        return [
            figure("path_mtu_settled_s", settled_s(looks)),
            figure("path_mtu_changes", sum(one.carried != other.carried for one, other in pairwise(looks))),
            figure("path_mtu_first_bytes", looks[0].carried),
            figure("path_mtu_last_bytes", looks[-1].carried),
        ]


def settled_s(looks: Sequence[Look]) -> float | None:
    """Return when the last look's value was first found for good; None: by the last look alone, or dead. Pure."""
    if looks[-1].carried is None:
        return None
    same = len(looks)
    while same and looks[same - 1].carried == looks[-1].carried:
        same -= 1
    return None if len(looks) > 1 and same == len(looks) - 1 else looks[same].at_s


def to_csv(looks: Sequence[Look]) -> str:
    """Return a line per look; an empty `carried_bytes` is one at which nothing came back."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["at_s", "carried_bytes"])
    writer.writerows([f"{one.at_s:.3f}", one.carried if one.carried is not None else ""] for one in looks)
    return out.getvalue()
