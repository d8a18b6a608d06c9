"""The probes that a scenario may ask for, and their settings. Pure: pydantic models only.

The order of the fields of `Probes` is the order in which a trial runs them.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PathProbe(_Strict):
    """Who carries the traffic, and how soon. The verdict is that of the lab's counters.

    `deadline_s` counts from the moment both daemons run. `burst_packets` of `payload_bytes` each are the traffic whose
    way the counters tell.
    """

    deadline_s: float = Field(default=15.0, gt=0, le=600)
    interval_ms: float = Field(default=50.0, ge=10, le=1000)
    payload_bytes: int = Field(default=900, ge=200, le=1200)
    burst_packets: int = Field(default=20, ge=5, le=1000)

    def own_time_s(self) -> float:
        """How long the probe may rightly take for one pair."""
        return self.deadline_s


class LatencyProbe(_Strict):
    """RTT samples at a fixed interval (irtt), over the overlay and over the underlay of the same lab."""

    duration_s: float = Field(default=2.0, gt=0, le=3600)
    interval_ms: float = Field(default=10.0, ge=1, le=1000)
    payload_bytes: int = Field(default=64, ge=8, le=1200)

    def own_time_s(self) -> float:
        """How long the probe may rightly take for one pair."""
        return self.duration_s


class MtuProbe(_Strict):
    """The largest packet that crosses the overlay unfragmented, and whether larger ones vanish without a word.

    Each size is tried `attempts` times with the don't-fragment bit, `timeout_s` each, before it counts as lost.
    """

    attempts: int = Field(default=3, ge=1, le=20)
    timeout_s: float = Field(default=1.0, ge=0.1, le=10)

    def own_time_s(self) -> float:
        """How long the probe may rightly take for one pair: every step of the bisection lost, both ways."""
        return 2 * 12 * self.attempts * self.timeout_s


class ThroughputProbe(_Strict):
    """TCP throughput by iperf3, one direction after the other, over the overlay and over the underlay.

    `baseline: lab` measures the underlay in the very same lab, once the overlay has stopped; `cell` takes it from the
    underlay's own trial of the same cell and repeat, which halves the time that a trial needs the machine alone.
    `both` adds a run with both directions at once.
    """

    baseline: Literal["lab", "cell"] = "lab"
    duration_s: int = Field(default=5, ge=1, le=3600)
    omit_s: int = Field(default=0, ge=0, le=60)
    streams: int = Field(default=1, ge=1, le=64)
    both: bool = False

    def own_time_s(self) -> float:
        """How long the probe may rightly take for one pair."""
        return (3.0 if self.both else 2.0) * (self.duration_s + self.omit_s)


class LoadedLatencyProbe(_Strict):
    """RTT samples (irtt) while TCP fills both directions (iperf3), over the overlay: what a call feels beside a backup.

    With the latency probe in the same trial, the rise over the idle median is reported as well.
    """

    duration_s: float = Field(default=3.0, gt=0, le=3600)
    interval_ms: float = Field(default=10.0, ge=1, le=1000)
    payload_bytes: int = Field(default=64, ge=8, le=1200)
    streams: int = Field(default=1, ge=1, le=64)

    def own_time_s(self) -> float:
        """How long the probe may rightly take for one pair."""
        return self.duration_s + 3


class UdpProbe(_Strict):
    """UDP goodput without loss: the highest rate at which no more than `loss_percent` is lost, by binary search.

    Each try lasts `duration_s`; the search begins at `max_mbit` and ends when what passed and what did not lie within
    `resolution_percent`. On a link that loses packets of its own, `loss_percent: 0` finds next to nothing: say more.
    """

    duration_s: int = Field(default=1, ge=1, le=3600)
    max_mbit: float = Field(default=1000.0, gt=0, le=100_000)
    payload_bytes: int = Field(default=1200, ge=64, le=1400)
    loss_percent: float = Field(default=0.0, ge=0, lt=100)
    resolution_percent: float = Field(default=5.0, ge=0.5, le=50)

    def own_time_s(self) -> float:
        """How long the probe may rightly take for one pair: twelve tries each way."""
        return 2 * 12 * (self.duration_s + 1.0)


AnyProbe = PathProbe | LatencyProbe | MtuProbe | ThroughputProbe | LoadedLatencyProbe | UdpProbe


class Probes(_Strict):
    """Which probes run, and how; an absent one does not run."""

    path: PathProbe | None = None
    latency: LatencyProbe | None = None
    mtu: MtuProbe | None = None
    throughput: ThroughputProbe | None = None
    loaded_latency: LoadedLatencyProbe | None = None
    udp: UdpProbe | None = None

    @model_validator(mode="after")
    def _some(self) -> Probes:
        if not self.named():
            raise ValueError(f"name at least one probe: {', '.join(type(self).model_fields)}")
        return self

    def named(self) -> list[AnyProbe]:
        """The probes that run, in their order."""
        return [probe for name in type(self).model_fields if (probe := getattr(self, name)) is not None]

    def own_time_s(self) -> float:
        """How long all of them may rightly take for one pair of members."""
        return sum(probe.own_time_s() for probe in self.named())


ProbeName = Literal["path", "latency", "mtu", "throughput", "loaded_latency", "udp"]


def probes_as_mapping(value: Any) -> Any:
    """The short forms of a scenario: a list of names, and names without settings."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {name: {} for name in value}
    if isinstance(value, dict):
        return {name: {} if settings is None else settings for name, settings in value.items()}
    return value
