"""What a scenario file may say. Pure: pydantic models only; names of overlays and topologies are checked in `plan`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

Mode = Literal["underlay", "mesh", "direct", "relay", "hub"]
Verdict = Literal["direct", "relayed", "mixed", "none"]
Expected = Literal["ok", "failed", "unsupported"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class TopologyUse(_Strict):
    """Which topology: a bundled name, a path to a YAML file, or `package.module:Class` of a Mininet `Topo`."""

    use: str
    members: tuple[str, ...] = ()
    server: str | None = None

    @property
    def is_mininet_class(self) -> bool:
        """Whether it names a Python class rather than a file."""
        return ":" in self.use


def _as_use(value: Any) -> Any:
    return {"use": value} if isinstance(value, str) else value


class OverlayUse(_Strict):
    """In which modes an overlay runs, and its own options (checked by its adapter)."""

    modes: Annotated[tuple[Mode, ...], BeforeValidator(_as_list, json_schema_input_type=Mode | tuple[Mode, ...])] = (
        Field(min_length=1)
    )
    options: dict[str, Any] = {}


def _as_overlay_use(value: Any) -> Any:
    if value is None:
        return {"modes": ["underlay"]}
    return {"modes": value} if isinstance(value, str | list) else value


class Pairs(_Strict):
    """Two parameters that sweep the pairs of one list of values."""

    parameters: tuple[str, str]
    values: tuple[Any, ...] = Field(min_length=1)
    order: Literal["unordered", "ordered"] = "unordered"


class PathProbe(_Strict):
    """Who carries the traffic, and how soon. Deadline and burst as in DESIGN.md section 7.

    `deadline_s` counts from the moment both daemons run. `burst_packets` of `payload_bytes` each are the traffic whose
    way the counters tell.
    """

    deadline_s: float = Field(default=15.0, gt=0, le=600)
    interval_ms: float = Field(default=50.0, ge=10, le=1000)
    payload_bytes: int = Field(default=900, ge=200, le=1200)
    burst_packets: int = Field(default=20, ge=5, le=1000)


class LatencyProbe(_Strict):
    """RTT samples at a fixed interval (irtt), over the overlay and over the underlay of the same lab."""

    duration_s: float = Field(default=2.0, gt=0, le=3600)
    interval_ms: float = Field(default=10.0, ge=1, le=1000)
    payload_bytes: int = Field(default=64, ge=8, le=1200)


class ThroughputProbe(_Strict):
    """TCP throughput by iperf3, one direction after the other, over the overlay and over the underlay.

    `baseline: lab` measures the underlay in the very same lab, once the overlay has stopped; `cell` takes it from the
    underlay's own trial of the same cell and repeat, which halves the time that a trial needs the machine alone.
    """

    baseline: Literal["lab", "cell"] = "lab"
    duration_s: int = Field(default=5, ge=1, le=3600)
    omit_s: int = Field(default=0, ge=0, le=60)
    streams: int = Field(default=1, ge=1, le=64)


class Probes(_Strict):
    """Which probes run, and how; an absent one does not run."""

    path: PathProbe | None = None
    latency: LatencyProbe | None = None
    throughput: ThroughputProbe | None = None

    @model_validator(mode="after")
    def _some(self) -> Probes:
        if self.path is None and self.latency is None and self.throughput is None:
            raise ValueError("name at least one probe: path, latency, throughput")
        return self


ProbeName = Literal["path", "latency", "throughput"]


def _as_probes(value: Any) -> Any:
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {name: {} for name in value}
    if isinstance(value, dict):
        return {name: {} if settings is None else settings for name, settings in value.items()}
    return value


class Expectation(_Strict):
    """What must come out of the trials that match `when`; a trial key may be given one value or a list.

    `oracle: true` takes the path from the NAT pair and the overlay's declared traversal technique instead.
    """

    when: dict[str, Any] = {}
    path: Annotated[
        tuple[Verdict, ...], BeforeValidator(_as_list, json_schema_input_type=Verdict | tuple[Verdict, ...])
    ] = ()
    outcome: Annotated[
        tuple[Expected, ...], BeforeValidator(_as_list, json_schema_input_type=Expected | tuple[Expected, ...])
    ] = ()
    oracle: bool = False

    @model_validator(mode="after")
    def _says_something(self) -> Expectation:
        if not (self.path or self.outcome or self.oracle):
            raise ValueError("says nothing: give `path`, `outcome` or `oracle: true`")
        if self.oracle and self.path:
            raise ValueError("give `path` or `oracle: true`, not both")
        return self


class Until(_Strict):
    """Repeat a cell until its interval is narrow enough; `repeats` is the cap.

    `half_width` is half of the 95 % interval of `metric`: a share of the estimate for medians (0.05: within 5 %), an
    absolute share for success rates. No cell stops before `at_least` runs.
    """

    metric: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    half_width: float = Field(gt=0, le=1)
    at_least: int = Field(default=6, ge=1)


def _as_expectations(value: Any) -> Any:
    return [{"oracle": True}] if value == "oracle" else value


class Scenario(_Strict):
    """A scenario file: a topology, what is swept, which overlays in which modes, which probes, how often."""

    description: str
    topology: Annotated[TopologyUse, BeforeValidator(_as_use, json_schema_input_type=str | TopologyUse)]
    params: dict[str, Any] = {}
    matrix: dict[str, Annotated[tuple[Any, ...], Field(min_length=1)]] = {}
    pairs: Pairs | None = None
    overlays: dict[
        str,
        Annotated[
            OverlayUse,
            BeforeValidator(_as_overlay_use, json_schema_input_type=Mode | tuple[Mode, ...] | OverlayUse | None),
        ],
    ] = Field(min_length=1)
    probes: Annotated[Probes, BeforeValidator(_as_probes, json_schema_input_type=tuple[ProbeName, ...] | Probes)]
    repeats: int = Field(default=1, ge=1, le=10_000)
    until: Until | None = None
    seed: int = Field(default=1, ge=0, lt=2**63)
    links: Literal["auto", "netem", "userlink"] = "auto"
    expect: Annotated[
        tuple[Expectation, ...],
        BeforeValidator(_as_expectations, json_schema_input_type=Literal["oracle"] | tuple[Expectation, ...]),
    ] = ()
