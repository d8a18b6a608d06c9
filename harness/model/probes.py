"""The probes that a scenario may ask for; which there are and what settings they take is declared by the probes.

They are found by entry point (`harness.model.extensions`), never by import: a model knows no room.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Literal, Protocol

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, create_model, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from harness.model.extensions import extensions

GROUP = "overlaybench.probes"

# What a trial may do while it holds a turn. `waiting`: anything that mostly waits; `shared`: what other trials that
# measure as quietly do not disturb; `exclusive`: load, with the machine to itself.
Turn = Literal["waiting", "shared", "exclusive"]


class ProbeSettings(BaseModel):
    """What a scenario may say of one probe; every setting has a default. Units stand in the names.

    `drives_timeline`: the probe keeps traffic up through the whole timeline, of which that traffic is time zero;
    `needs_timeline`: without one it has nothing to say; `tells_direct`: it tells when all pairs are direct.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    drives_timeline: ClassVar[bool] = False
    needs_timeline: ClassVar[bool] = False
    tells_direct: ClassVar[bool] = False

    def own_time_s(self) -> float:
        """Return how long the probe may rightly take for one pair, in seconds."""
        raise NotImplementedError(f"{type(self).__name__} does not say how long its probe may take")

    def traffic_s(self) -> float:
        """Return how long the traffic goes on that drives a timeline, in seconds; infinite where that is not known."""
        return math.inf

    def conditions(self) -> dict[str, Any]:
        """Return the settings that each record of a trial carries among its `params`."""
        return {}

    def missing(self) -> Mapping[str, str]:
        """Return what this machine lacks for the probe, beyond what every run needs, and the command that gets it."""
        return {}

    @property
    def baseline_of_cell(self) -> bool:
        """Whether figures are compared with the underlay's own trial of the same cell, which then has to run first."""
        return False


class Declared(Protocol):
    """What a model needs of a probe; `harness.probes.contract.Probe` is the whole of it."""

    name: str
    order: int
    settings: type[ProbeSettings]
    builds_on: frozenset[str]
    tells_connected: bool


def declared_probes() -> dict[str, Declared]:
    """Return all probes by name, in the order in which a trial runs them."""
    return extensions(GROUP)


@cache
def settings_model() -> type[BaseModel]:
    """Return a model with a field for each probe that there is, to validate by."""
    fields: dict[str, Any] = {name: (probe.settings | None, None) for name, probe in declared_probes().items()}
    return create_model("Probes", __config__=ConfigDict(extra="forbid"), **fields)


class _ProbeName:
    """The names in a JSON Schema; looked up when the schema is made."""

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"enum": list(declared_probes()), "type": "string"}


ProbeName = Annotated[str, _ProbeName()]


class Probes(BaseModel):
    """Which probes run, and how. A probe that is not named does not run."""

    # Each probe there is can be asked for as an attribute: its settings, or None where it does not run. They stand in
    # the place of fields, but which there can be is not known before the first is asked for.
    model_config = ConfigDict(extra="allow", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _by_the_registered(cls, value: Any) -> Any:
        known = settings_model().model_validate(value)
        named = {name: settings for name in declared_probes() if (settings := getattr(known, name)) is not None}
        if not named:
            raise ValueError(f"name at least one probe: {', '.join(declared_probes())}")
        return named

    def __getattr__(self, name: str) -> Any:
        extra = object.__getattribute__(self, "__pydantic_extra__") or {}
        if name in extra:
            return extra[name]
        if not name.startswith("_") and name in declared_probes():
            return None
        raise AttributeError(name)

    def items(self) -> Iterator[tuple[str, ProbeSettings]]:
        """Yield the probes that run with their settings, in their order."""
        yield from (self.__pydantic_extra__ or {}).items()

    def named(self) -> list[ProbeSettings]:
        """Return the settings of the probes that run, in their order."""
        return [settings for _, settings in self.items()]

    def own_time_s(self) -> float:
        """Return how long all of them may rightly take for one pair of members, in seconds."""
        return sum(settings.own_time_s() for settings in self.named())

    @classmethod
    def further_keys(cls) -> Iterator[str]:
        """Yield every key that can stand below `probes`, for suggestions: names of probes and of their settings."""
        for name, probe in declared_probes().items():
            yield name
            yield from probe.settings.model_fields

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        properties = {
            # Inside another schema, the settings become a definition of their own to which this one refers.
            name: {**handler(core_schema.nullable_schema(probe.settings.__pydantic_core_schema__)), "default": None}
            for name, probe in declared_probes().items()
        }
        return {
            "additionalProperties": False,
            "description": cls.__doc__,
            "properties": properties,
            "title": cls.__name__,
            "type": "object",
        }


def probes_as_mapping(value: Any) -> Any:
    """Expand the short forms of a scenario: a list of names, and names without settings."""
    if isinstance(value, list) and all(isinstance(name, str) for name in value):
        return {name: {} for name in value}
    if isinstance(value, dict):
        return {name: {} if settings is None else settings for name, settings in value.items()}
    return value
