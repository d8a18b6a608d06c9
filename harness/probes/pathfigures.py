"""The path probe's figures, from what was found of each pair; one clock and one rule for all its times. Pure.

Every time is the moment at which the answer of a ping came, by the kernel's stamp. Connected is the first answer,
direct the first one whose ping went and came back directly; so no pair is direct before it is connected. Both count by
the deadline alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from harness.model.words import SEEKING_DIRECT
from harness.probes.carriage import Attributed, first_direct
from harness.probes.measurement import Measurement, Target, figure_of

if TYPE_CHECKING:
    from harness.model.words import Verdict


@dataclass(frozen=True)
class Since:
    """Unix times in seconds: when the last of the members' daemons was started, and when all were ready."""

    started_s: float
    ready_s: float


@dataclass(frozen=True)
class PathFound:
    """One pair. Unix times in seconds, None where it never came; `untold` says why a direct path has no time.

    `missing` is what did not come where there is no connection, `why_not` what stood against it. `new_direct_ratio` is
    the share of later connections that were direct, None where none was looked at. `evidence` is the file that tells.
    """

    verdict: Verdict
    connected_s: float | None
    direct_s: float | None
    since: Since
    untold: str | None = None
    why_not: str | None = None
    missing: str = "no overlay packet was answered"
    new_direct_ratio: float | None = None
    evidence: str = "pings.csv"

    @classmethod
    def of(
        cls,
        attributed: Sequence[Attributed],
        verdict: Verdict,
        *,
        lost: int,
        deadline: float,
        errors: Mapping[str, int],
        since: Since,
    ) -> PathFound:
        """Build it from all answered pings of a pair.

        An answer counts when something crossed both members' ports that could have carried it: an address that is a
        member's own answers as well. With frames lost by the tap that cannot be told, and all answers count. A path
        that went directly after the deadline alone punched no hole by then: it is `mixed`, and its time is censored.
        """
        crossed = [one for one in attributed if one.carried != "nowhere" or lost]
        if not any(one.ping.answered_s is not None and one.ping.answered_s <= deadline for one in crossed):
            said = "".join(f"; ping: {text} ({count} times)" for text, count in errors.items())
            stayed = "; what answered was not the peer: nothing crossed the network" if attributed else ""
            return cls("none", None, None, since, why_not=f"{stayed}{said}")
        connected = min(one.ping.answered_s or 0.0 for one in crossed)
        if verdict != "direct":
            return cls(verdict, connected, None, since)
        ping = None if lost else first_direct(crossed)
        if ping is not None and ping.answered_s is not None and ping.answered_s > deadline:
            # Another way while it counted, directly since: neither, for what is measured from now on.
            return cls("mixed", connected, None, since)
        if ping is not None:
            return cls(verdict, connected, ping.answered_s, since)
        reason = f"the tap lost {lost} frames" if lost else "no ping could be told from the product's own packets"
        return cls(verdict, connected, None, since, untold=f"the path is direct, but since when is not known: {reason}")


def figures_of(target: Target, found: PathFound, deadline_s: float) -> Iterator[Measurement]:
    """Yield one pair's figures."""
    failed = found.connected_s is None
    error = f"{found.missing} within {deadline_s:g} s{found.why_not or ''}" if failed else None
    bare = figure_of(target, "path", target.evidence(found.evidence))

    def figure(metric: str, value: float | None) -> Measurement:
        return replace(bare(metric, value), outcome="failed" if failed else "ok", path=found.verdict, error=error)

    yield figure("connect_success", 0.0 if failed else 1.0)
    for metric, value in _times("connect", found.connected_s, found.since):
        yield figure(metric, value)
    if target.mode not in SEEKING_DIRECT:
        return
    yield figure("hole_punch_success", float(found.verdict == "direct"))
    for metric, value in _times("direct", found.direct_s, found.since):
        if found.untold is None:
            yield figure(metric, value)
        else:
            yield replace(figure(metric, None), outcome="error", error=found.untold)
    if found.new_direct_ratio is not None:
        yield figure("new_streams_direct_ratio", found.new_direct_ratio)


def mesh_figures(targets: Sequence[Target], found: Sequence[PathFound]) -> Iterator[Measurement]:
    """Yield when all pairs of more than two members were connected, and when all were direct; None: never."""
    if len(targets) < 2:
        return
    failed = any(one.connected_s is None for one in found)
    whole: list[tuple[str, list[float | None]]] = [("time_to_full_mesh_s", [one.connected_s for one in found])]
    if targets[0].mode in SEEKING_DIRECT and not any(one.untold for one in found):
        whole.append(("time_to_direct_mesh_s", [one.direct_s for one in found]))
    for metric, moments in whole:
        known = [moment - found[0].since.started_s for moment in moments if moment is not None]
        value = max(known) if len(known) == len(moments) else None
        yield replace(figure_of(None, "path")(metric, value), outcome="failed" if failed else "ok")


def _times(what: str, moment: float | None, since: Since) -> Iterator[tuple[str, float | None]]:
    for metric, start in ((f"time_to_{what}_s", since.started_s), (f"ready_to_{what}_s", since.ready_s)):
        yield metric, None if moment is None else max(0.0, moment - start)
