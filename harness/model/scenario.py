"""What a scenario file may say. Pure: pydantic models only; names of overlays and topologies are checked in `plan`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from harness.model.captures import Captures, as_captures
from harness.model.expectation import Expectation, as_list
from harness.model.probes import ProbeName, Probes, probes_as_mapping
from harness.model.timeline import TimelineItem
from harness.model.words import LinkChoice, Mode


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


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
    """The modes in which an overlay runs, and its own options (checked by its adapter)."""

    modes: Annotated[tuple[Mode, ...], BeforeValidator(as_list, json_schema_input_type=Mode | tuple[Mode, ...])] = (
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


class Until(_Strict):
    """The rule by which a cell repeats until its interval is narrow enough; `repeats` is the cap.

    `half_width` is half of the 95 % interval of `metric`: as a share of the estimate for medians (0.05: within 5 %),
    absolute for success rates. Each path must become that narrow by itself, and for success rates each pair of NATs
    too. No cell stops before `at_least` runs.
    """

    metric: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    half_width: float = Field(gt=0, le=1)
    at_least: int = Field(default=6, ge=1)


def _as_expectations(value: Any) -> Any:
    return [{"oracle": True}] if value == "oracle" else value


class Scenario(_Strict):
    """A scenario file: a topology, what is swept, which overlays in which modes, which probes, and how often.

    `not_installed` says what happens when this machine lacks an overlay's programs: `refuse` runs nothing, `skip`
    leaves out that overlay and names it.
    """

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
    probes: Annotated[Probes, BeforeValidator(probes_as_mapping, json_schema_input_type=tuple[ProbeName, ...] | Probes)]
    timeline: tuple[TimelineItem, ...] = ()
    repeats: int = Field(default=1, ge=1, le=10_000)
    until: Until | None = None
    seed: int = Field(default=1, ge=0, lt=2**63)
    links: LinkChoice = "auto"
    captures: Annotated[
        Captures | None, BeforeValidator(as_captures, json_schema_input_type=str | tuple[str, ...] | Captures | None)
    ] = None
    not_installed: Literal["refuse", "skip"] = "refuse"
    expect: Annotated[
        tuple[Expectation, ...],
        BeforeValidator(_as_expectations, json_schema_input_type=Literal["oracle"] | tuple[Expectation, ...]),
    ] = ()
