"""What a scenario expects of its trials: paths, outcomes, numbers with bounds. Which metrics there are, others say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from harness.model.words import Verdict

Expected = Literal["ok", "failed", "unsupported"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def as_list(value: Any) -> Any:
    """Take one word for a list of it."""
    return [value] if isinstance(value, str) else value


Verdicts = Annotated[
    tuple[Verdict, ...], BeforeValidator(as_list, json_schema_input_type=Verdict | tuple[Verdict, ...])
]
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class Bound(_Strict):
    """At least `min`, at most `max`, in the metric's own unit (its name ends with it; ratios are 0 to 1).

    A bound is judged over all repeats of a cell, by the 95 % interval of the estimate. It is *met* if the whole
    interval keeps the bound, *not met* if none of the interval does, otherwise *not decided*.

    The median of fewer than six repeats has no such interval, so it is not decided; but if every repeat breaks the
    bound, they are *against it*. A success rate has an exact interval (Clopper and Pearson), for each pair of NATs if
    the members' NATs differ; `min: 1` asks that none failed.

    Each path is judged by itself. With `path` a bound judges only pairs that took that path. If no pair took it, the
    bound is broken, unless the scenario allows other paths (`path`, `oracle`).

    A bound that is not met, against it or never measured leads to exit code 1. One that is not decided is reported,
    with the number of repeats that would decide it, and does not change the exit code.
    """

    min: _Number | None = None
    max: _Number | None = None
    path: Verdicts = ()

    @model_validator(mode="before")
    @classmethod
    def _is_a_bound(cls, value: Any) -> Any:
        if not isinstance(value, Mapping | BaseModel):
            raise ValueError(f"expected a bound such as {{min: {value}}} or {{max: {value}}}, got {value!r}")
        return value

    @model_validator(mode="after")
    def _bounds_something(self) -> Bound:
        if self.min is None and self.max is None:
            raise ValueError("bounds nothing: give `min`, `max` or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"nothing is at least {self.min:g} and at most {self.max:g}")
        return self


class ExpectedNumber(Bound):
    """A bound with the metric that it is about."""

    metric: str


class Expectation(_Strict):
    """What must come out of the trials that match `when`; each key of `when` takes one value or a list.

    `oracle: true` derives the expected path from the NAT pair and the overlay's declared traversal technique. Any
    metric may stand here as well, with a bound: `added_rtt_p50_ms: {max: 5}`. A bound applies to the underlay's own
    trials only if `when` names their overlay or mode. If several items say something about a trial's path, or about the
    same metric, the last one holds. A trial of which anything is expected must not fail, unless `outcome` allows
    `failed`.
    """

    when: dict[str, Any] = {}
    path: Verdicts = ()
    outcome: Annotated[
        tuple[Expected, ...], BeforeValidator(as_list, json_schema_input_type=Expected | tuple[Expected, ...])
    ] = ()
    oracle: bool = False
    numbers: dict[str, Bound] = {}

    @model_validator(mode="before")
    @classmethod
    def _gather_numbers(cls, value: Any) -> Any:
        """Whatever else has a bound, or a number in place of one, is taken for a metric; words are mistyped keys."""
        if not isinstance(value, Mapping):
            return value
        known = {name for name in cls.model_fields if name != "numbers"}
        numbers = {
            key: bound
            for key, bound in value.items()
            if key not in known and isinstance(bound, Mapping | int | float | None)
        }
        return {key: one for key, one in value.items() if key not in numbers} | (
            {"numbers": numbers} if numbers else {}
        )

    @model_validator(mode="after")
    def _says_something(self) -> Expectation:
        if not (self.path or self.outcome or self.oracle or self.numbers):
            raise ValueError("says nothing: give `path`, `outcome`, `oracle: true` or a metric with its bound")
        if self.oracle and self.path:
            raise ValueError("give `path` or `oracle: true`, not both")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        made = handler(schema)
        found = handler.resolve_ref_schema(made)
        found["additionalProperties"] = found["properties"].pop("numbers")["additionalProperties"]
        return made
