"""What a NAT or firewall may be told to do: the axes of RFC 4787 and their neighbours, and aliases for them.

A behaviour is a claim. `harness/nat` renders it to a ruleset and proves it by measurement; this module knows neither.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.model.nat_words import (
    Egress,
    Filtering,
    Hairpinning,
    Mapping,
    Pooling,
    PortAllocation,
    PortMappingProtocol,
    Refresh,
    Unsolicited,
)

__all__ = [
    "ALIASES",
    "Egress",
    "Filtering",
    "Hairpinning",
    "Mapping",
    "NatAlias",
    "NatBehaviour",
    "Pooling",
    "PortAllocation",
    "PortMappingProtocol",
    "Refresh",
    "Unsolicited",
    "parse_nat",
]


DEFAULT_PORT_BLOCK_SIZE = 512


class NatBehaviour(BaseModel):
    """One router's behaviour on every axis.

    With `mapping` none it is a plain router or, if it filters, a stateful firewall. Lifetimes are idle times.

    Raises:
        pydantic.ValidationError: at construction, for a combination that no equipment could have or that nothing
            could tell from another; the text gives the reason.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mapping: Mapping = Mapping.EIM
    filtering: Filtering = Filtering.APDF
    port_allocation: PortAllocation = PortAllocation.PRESERVING
    port_step: int = Field(default=1, ge=1, le=64, description="sequential allocation: distance of successive ports")
    port_block_size: int = Field(default=DEFAULT_PORT_BLOCK_SIZE, ge=16, le=32768, description="ports per subscriber")
    hairpinning: Hairpinning = Hairpinning.OFF
    udp_lifetime_s: int = Field(default=300, ge=1, le=86400)
    udp_refresh: Refresh = Refresh.BOTH
    tcp_established_lifetime_s: int = Field(default=7440, ge=1, le=864000)
    tcp_transitory_lifetime_s: int = Field(default=240, ge=1, le=86400)
    icmp_lifetime_s: int = Field(default=60, ge=1, le=3600)
    pooling: Pooling = Pooling.PAIRED
    pool_size: int = Field(default=1, ge=1, le=64, description="external addresses in use")
    unsolicited: Unsolicited = Unsolicited.DROP
    session_cap: int | None = Field(
        default=None, ge=1, le=65535, description="concurrent sessions per internal address"
    )
    port_mapping: tuple[PortMappingProtocol, ...] = ()
    egress: Egress = Egress.ANY
    ipv4: bool = True
    ipv6_filtering: Filtering | None = Field(default=None, description="absent: the router forwards no IPv6")

    @property
    def translates(self) -> bool:
        """True for a NAT, False for a router or firewall."""
        return self.mapping is not Mapping.NONE

    @property
    def label(self) -> str:
        """A short stable name: the alias that equals this, else the axes as in `EIM/ADF/random,udp_lifetime_s=30`."""
        for alias in ALIASES.values():
            if alias.behaviour == self:
                return alias.name
        return self.axes_label

    @property
    def axes_label(self) -> str:
        """The label from the axes alone, also where an alias exists."""
        head = [self.mapping.short, self.filtering.short]
        if self.translates:
            head.append(self.port_allocation.value)
        named = {"mapping", "filtering", "port_allocation"}
        rest = [
            f"{name}={_plain(value)}"
            for name, value in self
            if name not in named and value != type(self).model_fields[name].default
        ]
        return ",".join(["/".join(head), *rest])

    @model_validator(mode="after")
    def _refuse_the_impossible(self) -> Self:
        reasons = [reason for rule in _RULES for reason in [rule(self)] if reason]
        if reasons:
            lines = [_one_line(problem["loc"], problem["msg"], problem["input"]) for problem in error.errors()]
        raise ValueError("; ".join(lines)) from None


def _alias_named(name: str) -> NatAlias:
    if name not in ALIASES:
        raise ValueError(f"unknown NAT {name!r}{_did_you_mean(name, ALIASES)}")
    return ALIASES[name]


def _did_you_mean(word: str, known: Dict[str, object] | Dict[str, NatAlias]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"


def _one_line(place: tuple[int | str, ...], text: str, value: object) -> str:
    text = text.removeprefix("Value error, ")
    if not place:
        return text
    return f"{'.'.join(map(str, place))}: {text}, not {value!r}"
