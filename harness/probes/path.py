"""The path probe: does it connect, how soon, does it become direct, how soon, and which way does a burst go?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from harness.probes.contract import Found, Measurement, Pair, Probe, ProbeSettings, Surroundings, Target
from harness.probes.pathfigures import PathFound, Since, figures_of, mesh_figures
from harness.probes.pings import HEADERS_BYTES
from harness.results.declared import OVERVIEW, PUNCHING, Chapter, Column, Metric, Plot, Shown, Table

_OF_SUBJECT = {"of_underlay": False, "of_all_paths": True, "always": True}
_STARTED = "the start of the last member's daemon"
_READY = "the moment at which all daemons were ready"
_ANSWERED = "first answered overlay packet, or stream's request, or the end of the first content's fetch"
_DIRECT = "first of these that went directly, packets and requests both ways"


class PathSettings(ProbeSettings):
    """Who carries the traffic, and how soon. The verdict comes from the lab's counters and captures.

    `deadline_s` counts from the start of the last member's daemon. Pings are sent every `interval_ms`, or less often if
    there are many pairs. Each ping has a size of its own, from 272 to `payload_bytes`, which tells it from the
    overlay's own packets. At the end a burst of at least `burst_packets` pings is sent at once, and more if many are
    lost: the verdict is about the burst.

    Over streams the probe sends requests of 6 to 12 kB instead of pings, each over a connection of its own, and the
    burst over one connection. For content it publishes and fetches fresh files of 1 MB: until one comes directly if the
    mode punches holes, otherwise once.
    """

    deadline_s: float = Field(default=15.0, gt=0, le=600)
    interval_ms: float = Field(default=50.0, ge=10, le=1000)
    payload_bytes: int = Field(default=1172, ge=700, le=1400)
    burst_packets: int = Field(default=20, ge=5, le=1000)

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair."""
        return self.deadline_s

    def conditions(self) -> dict[str, Any]:
        """Return the deadline, which censors the times."""
        return {"deadline_s": self.deadline_s}


class PathProbe(Probe[PathSettings, PathFound]):
    """All pairs at once, because connecting happens once: pings, requests through streams, or contents."""

    name = "path"
    order = 0
    settings = PathSettings
    needs = frozenset({"interface", "stream", "content"})
    turn = "waiting"
    doing = "finding the path"
    at_once = True
    repeatable = False
    is_gate = True
    tells_connected = True
    # Its own clock ticks every 50 ms; what it tells apart are seconds and addresses.
    minds_lateness = False
    metrics = (
        Metric(
            "connect_success",
            "1",
            "1 when an overlay packet or a stream's request was answered, or content was fetched, within the "
            "deadline, else 0.",
            "RFC 2678 (connectivity)",
            better="higher",
            estimator="proportion",
            in_tables=True,
            ways="smaller",
            pairs="all",
        ),
        Metric(
            "hole_punch_success",
            "1",
            "1 when the path is direct both ways by the deadline, as the lab's counters and captures saw it, else 0.",
            "RFC 5128, RFC 8445",
            better="higher",
            estimator="proportion",
            in_tables=True,
            ways="smaller",
            pairs="all",
        ),
        *(
            Metric(
                name,
                "s",
                f"From {start} to the {what}; censored at the deadline.",
                "this project",
                better="lower",
                estimator="censored median",
                min_absolute=0.1,
                in_tables=True,
            )
            for name, start, what in (
                ("time_to_connect_s", _STARTED, _ANSWERED),
                ("ready_to_connect_s", _READY, _ANSWERED),
                ("time_to_direct_s", _STARTED, _DIRECT),
                ("ready_to_direct_s", _READY, _DIRECT),
                ("time_to_full_mesh_s", _STARTED, "moment at which all pairs of three or more members are connected"),
                ("time_to_direct_mesh_s", _STARTED, "moment at which all pairs of three or more members are direct"),
            )
        ),
        Metric(
            "new_streams_direct_ratio",
            "1",
            "Share of direct connections among those opened after the path of streams had become direct. Some "
            "products choose a path for each connection.",
            "this project",
            better="higher",
            min_absolute=0.05,
            in_tables=True,
        ),
    )
    shows = Shown(
        chapters=(Chapter("soon", "How soon members are connected", place=8),),
        tables=(
            Table(
                "ready",
                "Time from readiness",
                "soon",
                "Time from the moment at which all daemons were ready, over all paths. late: not by the deadline, "
                "which counts from the daemons' start.",
                of_all_paths=True,
            ),
            Table(
                "mesh",
                "Time until the whole mesh is connected",
                "soon",
                "Time from the start of the last member's daemon until all pairs of members (three or more) were "
                "connected, and until all were direct.",
                of_all_paths=True,
            ),
        ),
        columns=(
            Column("ready", "connected after (s)", "ready_to_connect_s", "late", of_underlay=False),
            Column("ready", "direct after (s)", "ready_to_direct_s", "late", of_underlay=False),
            Column("mesh", "all connected after (s)", "time_to_full_mesh_s", "time"),
            Column("mesh", "all direct after (s)", "time_to_direct_mesh_s", "time", of_underlay=False),
            Column(OVERVIEW, "hole punch", "hole_punch_success", "success", **_OF_SUBJECT),
            Column(OVERVIEW, "direct after (s)", "time_to_direct_s", "time", **_OF_SUBJECT),
            Column(OVERVIEW, "path", "connect_success", "path", always=True),
            Column(OVERVIEW, "connected after (s)", "time_to_connect_s", "time", always=True),
            Column(OVERVIEW, "new connections direct", "new_streams_direct_ratio", "percent", of_underlay=False),
        ),
        plots=(
            Plot("time", PUNCHING, "time_to_direct_s", "Time to a direct path"),
            Plot("time", PUNCHING, "time_to_connect_s", "Time to the first answer"),
        ),
    )

    def measure(self, target: Target, settings: PathSettings, trial: Surroundings) -> PathFound:
        """Measure one pair alone."""
        return self.measure_all([target], settings, trial)[target.pair]

    def measure_all(
        self, targets: Sequence[Target], settings: PathSettings, trial: Surroundings
    ) -> dict[Pair, PathFound]:
        """Measure by `harness.probes.seek`, content alone by `harness.probes.contentpath`."""
        # They work in a lab; this module is read by reports as well.
        from harness.probes.contentpath import find_content_paths  # noqa: PLC0415
        from harness.probes.seek import Search, find_paths  # noqa: PLC0415

        search = Search(
            deadline_s=settings.deadline_s,
            interval_s=settings.interval_ms / 1000,
            largest_bytes=settings.payload_bytes + HEADERS_BYTES[4],
            burst_packets=settings.burst_packets,
        )
        # The bare underlay has no daemons; what the harness does before its first ping is not the network's time.
        bare = targets[0].mode == "underlay"
        since = None if bare else Since(trial.running_since, trial.ready_since)
        asked = [target for target in targets if target.kinds & {"interface", "stream"}]
        found = find_paths(asked, search, trial.tap, since) if asked else {}
        trial.tap.close()  # contents are large, and their way is told by the counters alone
        contents = [target for target in targets if target not in asked]
        return found | find_content_paths(contents, settings.deadline_s, since)

    def summarise(self, found: Found[PathFound], settings: PathSettings) -> list[Measurement]:
        """Summarise by `figures_of`."""
        return list(figures_of(found.target, found.overlay, settings.deadline_s))

    def summarise_trial(self, found: Sequence[Found[PathFound]], settings: PathSettings) -> list[Measurement]:
        """Summarise by `mesh_figures`."""
        del settings
        return list(mesh_figures([one.target for one in found], [one.overlay for one in found]))
