"""What a population file may say: who has which access, what the overlay may do, how large groups are. Pure."""

from __future__ import annotations

import itertools
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from harness.model.document import FieldError
from harness.model.nat import NatBehaviour, parse_nat
from harness.nat.oracle import Technique

_OF_PRODUCTS = (Technique.PORT_MAPPING, Technique.SAME_PORT, Technique.FIRST_PATH)
TECHNIQUES = tuple(technique.value for technique in Technique if technique not in _OF_PRODUCTS)
"""What an engine may be held to: ports on request are a switch of their own, and no engine is held to a weakness."""


SHORTEST_S = 0.1
"""Means and steps of a network over time: shorter ones never end."""
MOST_LOOKS = 1_000_000
"""Rows of churn.csv: some 100 MB."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a valid integer is asked for, not yes or no")
    return value


Whole = Annotated[int, BeforeValidator(_no_bool)]


def _as_list(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else [value]


class AccessLink(_Strict):
    """One way between the outermost router, or a public host, and the Internet."""

    delay_ms: float = Field(default=10.0, ge=0, le=10_000)
    jitter_ms: float = Field(default=0.0, ge=0, le=10_000)
    loss_percent: float = Field(default=0.0, ge=0, lt=100)
    reorders: bool = Field(default=False, description="packets of one flow overtake each other")


class Together(_Strict):
    """A share of all pairs is behind the same outermost routers: customers of one carrier, or one home.

    Both are of that type, so it is no more than the square of the type's share.
    """

    share: float = Field(gt=0, le=1)
    layers: Whole = Field(default=1, ge=1)


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
            raise FieldError(
                ("together", "layers"), f"{self.together.layers}: there are {len(behaviours)} routers to share"
            )
        if self.ipv6 and any(behaviour.ipv6_filtering is None for behaviour in behaviours):
            raise FieldError(("ipv6",), "a router forwards no IPv6; give each `ipv6_filtering`")
        if any(behaviour.nptv6 is not None or behaviour.nat64 for behaviour in behaviours):
            raise FieldError(("routers",), "nptv6, nat64: no simulated router translates IPv6; a lab's does")
        if not all(behaviour.mtu_errors and behaviour.mss_clamping for behaviour in behaviours):
            said = (
                "mtu_errors, mss_clamping: every simulated line carries 1500 bytes, so it never shows what a router "
                "says of less; a lab's lines have `mtu_bytes`"
            )
            raise FieldError(("routers",), said)
        if not self.ipv6 and not all(behaviour.ipv4 for behaviour in behaviours):
            raise FieldError(("routers",), "one forwards no IPv4, and `ipv6` is not true: the host has no address")
        return self


class Band(_Strict):
    """A field figure: drawn next to the curves with its conditions, never fitted."""

    name: str
    low_percent: float = Field(ge=0, le=100)
    high_percent: float = Field(ge=0, le=100)
    of: Literal["pairs", "NATs", "peers", "attempts", "traffic", "ISPs"]
    measures: Literal["direct", "endpoint-independent", "carrier-nat"] = Field(
        default="direct",
        description="whose share it is: those with direct paths, with mapping that holes can be punched through, with "
        "a carrier's NAT",
    )
    conditions: str
    source: str

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low_percent > self.high_percent:
            raise FieldError(("low_percent",), "greater than high_percent")
        return self


class ServerDown(_Strict):
    """The servers fall silent, and start again without any state; for a while after that is looked more often."""

    at_s: float = Field(gt=0)
    for_s: float = Field(gt=0)
    look_every_s: float = Field(default=1.0, ge=SHORTEST_S, le=60)
    look_for_s: float = Field(default=60.0, ge=0, le=3600)

    @property
    def back_s(self) -> float:
        """When they start again."""
        return self.at_s + self.for_s


class Churn(_Strict):
    """Networks over time, their members drawn from the shares: they leave or sleep, come back, and roam.

    Times are means of exponential distributions; `roam_s` 0: none moves.
    """

    members: Whole = Field(ge=2, le=600)
    networks: Whole = Field(default=1, ge=1, le=10_000)
    peers: int | None = Field(
        default=None, ge=2, le=10**7, description="so many peers, in networks like these, have one server: its load"
    )
    seconds: float = Field(default=600.0, gt=0, le=86_400)
    every_s: float = Field(default=10.0, ge=SHORTEST_S, le=3600, description="how often is looked")
    start_within_s: float = Field(default=10.0, ge=0, le=3600)
    up_s: float = Field(default=1800.0, ge=SHORTEST_S)
    away_s: float = Field(default=120.0, ge=SHORTEST_S)
    asleep_share: float = Field(default=0.5, ge=0, le=1, description="of absences: the machine sleeps, and goes on")
    roam_s: float = Field(default=0.0, ge=0)
    server_down: ServerDown | None = None

    @model_validator(mode="after")
    def _within_the_time(self) -> Self:
        if self.server_down is not None and self.server_down.back_s >= self.seconds:
            raise FieldError(("server_down",), f"the servers are not back within the {self.seconds:g} s")
        if 0 < self.roam_s < SHORTEST_S:
            raise FieldError(("roam_s",), f"{self.roam_s:g}: 0, or at least {SHORTEST_S:g}")
        if self.peers is not None and self.peers < self.members * self.networks:
            raise FieldError(
                ("peers",), f"{self.peers}: fewer than the {self.members * self.networks} that are simulated"
            )
        if self.networks * self.seconds / self.every_s > MOST_LOOKS:
            raise FieldError(
                ("every_s",), f"{self.networks} networks would be looked at more than {MOST_LOOKS:,} times"
            )
        return self


class Further(_Strict):
    """A condition besides the combinations."""

    technique: Literal[TECHNIQUES]  # type: ignore[valid-type]
    port_mapping: bool = False
    ipv6: bool = False


class Sweep(_Strict):
    """What is swept: every combination is a condition of its own, and each of `also` is one more."""

    technique: Annotated[tuple[Literal[TECHNIQUES], ...], BeforeValidator(_as_list)] = Field(  # type: ignore[valid-type]
        default=TECHNIQUES, min_length=1
    )
    port_mapping: Annotated[tuple[bool, ...], BeforeValidator(_as_list)] = Field(default=(False,), min_length=1)
    ipv6: Annotated[tuple[bool, ...], BeforeValidator(_as_list)] = Field(default=(False,), min_length=1)
    group: Annotated[tuple[Annotated[int, Field(ge=2, le=10)], ...], BeforeValidator(_as_list)] = Field(
        default=(2,), min_length=1
    )
    also: tuple[Further, ...] = ()

    @property
    def levels(self) -> tuple[Further, ...]:
        """What the overlay may do, in the order of the conditions."""
        choices = itertools.product(self.technique, self.port_mapping, self.ipv6)
        return (*(Further(technique=t, port_mapping=p, ipv6=i) for t, p, i in choices), *self.also)

    @model_validator(mode="after")
    def _no_value_twice(self) -> Self:
        for name, values in self:
            if len(set(values)) != len(values):
                raise FieldError((name,), "a value is listed twice")
        if len(set(self.levels)) != len(self.levels):
            raise FieldError(("also",), "one of them is among the combinations")
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
    worlds: Whole = Field(default=100, ge=1, le=100_000, description="worlds of each cell of a pair")
    groups: Whole = Field(default=1000, ge=1, le=100_000, description="worlds of each size of three or more")
    deadline_s: float = Field(
        default=10.0,
        gt=0,
        le=600,
        description="one for all conditions: a report tells of shorter ones, of pairs in the engine alone",
    )
    server: AccessLink = AccessLink()
    apart_s: float = Field(default=1.0, ge=0, le=60, description="members start within so many seconds")
    crypto: Literal["real", "cheap"] = "cheap"
    seed: Whole = Field(default=1, ge=0, lt=2**63)
    churn: Churn | None = None
    bands: tuple[Band, ...] = ()

    @model_validator(mode="after")
    def _shares_are_a_whole(self) -> Self:
        total = sum(access.share for access in self.access.values())
        if abs(total - 1.0) > 1e-6:
            raise FieldError(("access",), f"the shares add up to {total:.6g}, not to 1")
        swept = [name for name in ("technique", "port_mapping", "ipv6") if len(getattr(self.matrix, name)) > 1]
        swept += ["also"] if self.matrix.also else []
        if self.churn is not None and swept:
            raise FieldError(("matrix", swept[0]), "networks over time (`churn`) have one value of each, not several")
        for name, access in self.access.items():
            if access.together is not None and access.together.share > access.share**2 + 1e-9:
                raise FieldError(
                    ("access", name, "together", "share"),
                    f"{access.together.share:.6g} of all pairs, of which {access.share**2:.6g} are of that type at "
                    "both ends",
                )
        return self
