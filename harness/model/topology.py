"""A topology that holds together: names, addresses and ways are checked when it is made. Pure."""

from __future__ import annotations

from pydantic import ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from harness.model.nodes import Attachment, Host, MininetClass, Router, Segment
from harness.model.topology_rules import problems_of
from harness.model.topology_shape import TopologyShape

__all__ = ["Attachment", "Host", "MininetClass", "Router", "Segment", "Topology"]


class Topology(TopologyShape):
    """A resolved topology: no template, no alias, every address known, and every rule of `topology_rules` kept."""

    @model_validator(mode="after")
    def _holds_together(self) -> Topology:
        problems = [
            InitErrorDetails(
                type=PydanticCustomError("value_error", "{error}", {"error": text}), loc=location, input=None
            )
            for location, text in problems_of(self)
        ]
        if problems:
            raise ValidationError.from_exception_data("Topology", problems)
        return self
