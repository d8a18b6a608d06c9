"""What a population file may say: who has which access, what the overlay may do, how large groups are. Pure."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from harness.model.nat import NatBehaviour, parse_nat
from harness.nat.oracle import Technique

TECHNIQUES = tuple(technique.value for technique in Technique if technique is not Technique.PORT_MAPPING)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class AccessLink(_Strict):
    """One way between the outermost router, or a public host, and the Internet."""

    delay_ms: float = Field(default=10.0, ge=0, le=10_000)
    jitter_ms: float = Field(default=0.0, ge=0, le=10_000)
    loss_percent: float = Field(default=0.0, ge=0, lt=100)
    reorders: bool = Field(default=False, description="packets of one flow overtake each other")


class Together(_Strict):
    """A share of all pairs is behind the same outermost routers: customers of one carrier, or one home."""

    share: float = Field(gt=0, le=1)
    layers: int = Field(default=1, ge=1)


class Access(_Strict):
    """A type of access: the routers in front of a host, nearest first, and the link. `share` is of peers."""

    share: float = Field(ge=0, le=1)
    routers: Annotated[tuple[Any, ...], BeforeValidator(_as_list)] = ()
    link: AccessLink = AccessLink()
    ipv6: bool = Field(default=False, description="hosts have IPv6 where all their routers forward it")
    together: Together | None = None
    source: str = ""

    @field_validator("routers")
    @classmethod
    def _known_routers(cls, routers: tuple[Any, ...]) -> tuple[Any, ...]:
        for router in routers:
            parse_nat(router)
        return routers

    @property
    def behaviours(self) -> tuple[NatBehaviour, ...]:
        """The routers' behaviours."""
        return tuple(parse_nat(router) for router in self.routers)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        behaviours = self.behaviours
        if self.together is not None and self.together.layers > len(behaviours):
            raise ValueError(f"together.layers {self.together.layers}: there are {len(behaviours)} routers to share")
        if self.ipv6 and any(behaviour.ipv6_filtering is None for behaviour in behaviours):
            raise ValueError("ipv6: a router forwards no IPv6; give each `ipv6_filtering`")
        if not self.ipv6 and not all(behaviour.ipv4 for behaviour in behaviours):
            raise ValueError("a router forwards no IPv4, and `ipv6` is not true: the host has no address at all")
        return self


class Band(_Strict):
    """A field figure: drawn next to the curves with its conditions, never fitted."""

    name: str
    low_percent: float = Field(ge=0, le=100)
    high_percent: float = Field(ge=0, le=100)
    of: Literal["pairs", "NATs", "peers", "attempts", "traffic"]
    conditions: str
    source: str

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low_percent > self.high_percent:
            raise ValueError("low_percent is more than high_percent")
        return self


class ServerDown(_Strict):
    """The servers fall silent, and start again without any state."""

    at_s: float = Field(ge=0)
    for_s: float = Field(gt=0)


class Churn(_Strict):
    """Networks over time, their members drawn from the shares: they leave or sleep, come back, and roam.

    Times are means of exponential distributions; `roam_s` 0: none moves.
    """

    members: int = Field(ge=2, le=600)
    networks: int = Field(default=1, ge=1, le=10_000)
    seconds: float = Field(default=600.0, gt=0, le=86_400)
    every_s: float = Field(default=10.0, gt=0, le=3600, description="how often is looked")
    start_within_s: float = Field(default=10.0, ge=0, le=3600)
    up_s: float = Field(default=1800.0, gt=0)
    away_s: float = Field(default=120.0, gt=0)
    asleep_share: float = Field(default=0.5, ge=0, le=1, description="of absences: the machine sleeps, and goes on")
    roam_s: float = Field(default=0.0, ge=0)
    server_down: ServerDown | None = None

    @model_validator(mode="after")
    def _within_the_time(self) -> Self:
        if self.server_down is not None and self.server_down.at_s + self.server_down.for_s >= self.seconds:
            raise ValueError(f"server_down: the servers are not back within the {self.seconds:g} s")
        return self


class Sweep(_Strict):
    """What is swept: every combination is a condition of its own."""

    technique: Annotated[tuple[Literal[TECHNIQUES], ...], BeforeValidator(_as_list)] = Field(  # type: ignore[valid-type]
        default=TECHNIQUES, min_length=1
    )
    port_mapping: Annotated[tuple[bool, ...], BeforeValidator(_as_list)] = Field(default=(False,), min_length=1)
    ipv6: Annotated[tuple[bool, ...], BeforeValidator(_as_list)] = Field(default=(False,), min_length=1)
    group: Annotated[tuple[Annotated[int, Field(ge=2, le=10)], ...], BeforeValidator(_as_list)] = Field(
        default=(2,), min_length=1
    )

    @model_validator(mode="after")
    def _no_value_twice(self) -> Self:
        for name, values in self:
            if len(set(values)) != len(values):
                raise ValueError(f"{name}: a value stands twice")
        return self


class Population(_Strict):
    """A population file.

    Pairs are sampled by cell (`worlds` of each pair of access types) and weighted by the shares afterwards, so that
    other shares need no other run; larger groups are drawn from the shares, `groups` of each size.
    """

    description: str
    engine: str = "refmesh"
    access: dict[Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")], Access] = Field(min_length=1)
    matrix: Sweep = Sweep()
    worlds: int = Field(default=100, ge=1, le=100_000, description="worlds of each cell of a pair")
    groups: int = Field(default=1000, ge=1, le=100_000, description="worlds of each size of three or more")
    deadline_s: float = Field(default=10.0, gt=0, le=600)
    server: AccessLink = AccessLink()
    apart_s: float = Field(default=1.0, ge=0, le=60, description="members start within so many seconds")
    crypto: Literal["real", "cheap"] = "cheap"
    seed: int = Field(default=1, ge=0, lt=2**63)
    churn: Churn | None = None
    bands: tuple[Band, ...] = ()

    @model_validator(mode="after")
    def _shares_are_a_whole(self) -> Self:
        total = sum(access.share for access in self.access.values())
        if abs(total - 1.0) > 1e-6:
            raise ValueError(f"access: the shares add up to {total:.6g}, not to 1")
        together = sum(access.together.share for access in self.access.values() if access.together is not None)
        if together > 1:
            raise ValueError(f"access: {together:.6g} of all pairs are together: more than all")
        return self
