"""The header of a topology file: what it is and what it takes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


# What a value of these is for a single member, by the type of the mapping.
BY_MEMBER: Mapping[str, Literal["nat", "link"]] = MappingProxyType({"nats": "nat", "links": "link"})


class Parameter(_Strict):
    """A topology's parameter; without `default` a scenario must give it. `choices` are all that a `str` may be.

    `nats` and `links` are mappings from members to a NAT or link each; members that they do not name have another
    parameter's.
    """

    type: Literal["nat", "link", "nats", "links", "int", "float", "str"]
    default: Any = None
    required: bool = False
    choices: tuple[str, ...] = ()
    help: str = ""

    @model_validator(mode="after")
    def _default_or_required(self) -> Parameter:
        if self.required and self.default is not None:
            raise ValueError("a required parameter has no default")
        if not self.required and self.default is None:
            raise ValueError("needs a `default`, or `required: true`")
        if self.choices and self.type != "str":
            raise ValueError("`choices` are for parameters of type str")
        if self.choices and not self.required and self.default not in self.choices:
            raise ValueError(f"the default {self.default!r} is none of the choices {', '.join(self.choices)}")
        return self


class TopologyHeader(_Strict):
    """The first document of a topology file: what it is and what it takes. Never a template."""

    description: str
    parameters: dict[str, Parameter] = {}
