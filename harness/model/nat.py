"""NAT and firewall behaviours: the axes of RFC 4787 and their neighbours, and aliases for them.

A behaviour is a claim. `harness/nat` renders it to a ruleset and proves it by measurement; this module knows neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from harness.model.document import did_you_mean
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
            raise ValueError("; ".join(reasons))
        return self


def _plain(value: object) -> str:
    if isinstance(value, Filtering):
        return value.short
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _allocation_parameters(b: NatBehaviour) -> str:
    if b.port_step != 1 and b.port_allocation is not PortAllocation.SEQUENTIAL:
        return f"port_step is for sequential allocation; {b.port_allocation.value} ports cannot follow a sequence too"
    if b.port_block_size != DEFAULT_PORT_BLOCK_SIZE and b.port_allocation is not PortAllocation.BLOCK:
        return f"port_block_size is for block allocation, not for {b.port_allocation.value}"
    return ""


def _router_without_nat(b: NatBehaviour) -> str:
    if b.translates:
        return ""
    defaults = NatBehaviour.model_fields
    for name in ("port_allocation", "hairpinning", "pooling", "pool_size", "port_mapping"):
        if getattr(b, name) != defaults[name].default:
            return f"{name} needs a mapping: a router without NAT has no external ports or addresses"
    filters = {b.filtering, b.ipv6_filtering} & {Filtering.EIF, Filtering.ADF, Filtering.APDF}
    if b.unsolicited is not Unsolicited.DROP and not filters:
        return "unsolicited has no meaning without filtering: nothing is unsolicited"
    return ""


def _nat_filters(b: NatBehaviour) -> str:
    if b.translates and b.filtering is Filtering.NONE:
        return "filtering none needs mapping none: a NAT cannot deliver what it has no mapping for (its least is EIF)"
    return ""


def _observable_hairpin(b: NatBehaviour) -> str:
    if (
        b.hairpinning is Hairpinning.EXTERNAL_SOURCE
        and b.mapping in (Mapping.ADM, Mapping.APDM)
        and b.filtering in (Filtering.ADF, Filtering.APDF)
    ):
        return (
            f"hairpinning external-source cannot work with {b.mapping.short} and {b.filtering.short}: the packet comes "
            "from a mapping that no host could have contacted, so it is the same as off"
        )
    return ""


def _pool(b: NatBehaviour) -> str:
    if b.pooling is Pooling.ARBITRARY and b.pool_size < 2:
        return "pooling arbitrary needs pool_size 2 or more: one address leaves nothing to choose"
    if b.pooling is Pooling.ARBITRARY and b.port_allocation is PortAllocation.BLOCK:
        return "port_allocation block gives a subscriber ports of one address, so its pooling is paired"
    return ""


def _poisons_is_stock_linux(b: NatBehaviour) -> str:
    if b.unsolicited is not Unsolicited.POISONS:
        return ""
    wanted = (Mapping.EIM, Filtering.APDF, PortAllocation.PRESERVING, Hairpinning.OFF, 1, Refresh.BOTH, ())
    if (b.mapping, b.filtering, b.port_allocation, b.hairpinning, b.pool_size, b.udp_refresh, b.port_mapping) != wanted:
        return (
            "unsolicited poisons is a fault of stock Linux, which is EIM, APDF, preserving, without hairpinning, "
            "on one address, refreshed by both directions; no other equipment is known to have it"
        )
    return ""


def _address_families(b: NatBehaviour) -> str:
    if b.ipv4:
        return ""
    if b.ipv6_filtering is None:
        return "ipv4 false without ipv6_filtering: the router would forward nothing"
    if b.translates or b.filtering is not Filtering.NONE:
        return "ipv4 false leaves nothing to map or filter: say mapping none and filtering none"
    return ""


def _one_daemon(b: NatBehaviour) -> str:
    if (PortMappingProtocol.NAT_PMP in b.port_mapping) != (PortMappingProtocol.PCP in b.port_mapping):
        return "port_mapping nat-pmp and pcp share one port and one switch of miniupnpd: name both or neither"
    return ""


_RULES = (
    _one_daemon,
    _allocation_parameters,
    _router_without_nat,
    _nat_filters,
    _observable_hairpin,
    _pool,
    _poisons_is_stock_linux,
    _address_families,
)


@dataclass(frozen=True)
class NatAlias:
    """A name that scenario files may use; `stands_for` says for which equipment or text, with the source."""

    name: str
    behaviour: NatBehaviour
    stands_for: str


def _alias(name: str, stands_for: str, **axes: object) -> NatAlias:
    return NatAlias(name, NatBehaviour.model_validate(axes), stands_for)


_PLAIN = {"mapping": "none", "filtering": "none"}
_PORT_MAPPING = ("upnp-igd", "nat-pmp", "pcp")

ALIASES: Dict[str, NatAlias] = MappingProxyType(
    {
        alias.name: alias
        for alias in (
            _alias("none", "a plain router between public networks", **_PLAIN),
            _alias("full-cone", "full cone of RFC 3489 section 5; gaming modes of home routers", filtering="EIF"),
            _alias(
                "address-restricted", "restricted cone of RFC 3489 section 5; RFC 4787 REQ-8, strict", filtering="ADF"
            ),
            _alias(
                "port-restricted", "port restricted cone of RFC 3489 section 5; Linux SNAT that drops the unsolicited"
            ),
            _alias(
                "symmetric",
                "symmetric of RFC 3489 section 5; Linux masquerade fully-random",
                mapping="APDM",
                port_allocation="random",
            ),
            _alias(
                "symmetric-sequential",
                "symmetric with predictable ports, as port prediction supposes (Ford et al. 2005, section 5.1)",
                mapping="APDM",
                port_allocation="sequential",
            ),
            _alias(
                "address-symmetric",
                "a new port per destination address (RFC 4787 section 4.1, address-dependent mapping)",
                mapping="ADM",
                port_allocation="random",
            ),
            _alias(
                "cgn",
                "carrier-grade NAT as RFC 6888 asks: EIM, EIF, paired, hairpinning; port blocks of RFC 7422",
                filtering="EIF",
                port_allocation="block",
                hairpinning="external-source",
            ),
            _alias(
                "home-router",
                "a home router of the better sort: RFC 4787 and 5382, with the strict filter",
                hairpinning="external-source",
                udp_refresh="outbound",
            ),
            _alias(
                "home-router-upnp",
                "the same with UPnP IGD, NAT-PMP (RFC 6886) and PCP (RFC 6887), by miniupnpd",
                hairpinning="external-source",
                udp_refresh="outbound",
                port_mapping=_PORT_MAPPING,
            ),
            _alias(
                "poisoning-router",
                "stock Linux NAT with an open INPUT chain: a peer's early packet takes the port away from its own flow",
                unsolicited="poisons",
            ),
            _alias(
                "rejecting-router",
                "a NAT that answers the unsolicited, against RFC 5382 REQ-4",
                unsolicited="reject",
            ),
            _alias(
                "short-lived",
                "the 30 s UDP timer of older equipment, against RFC 4787 REQ-5",
                udp_lifetime_s=30,
            ),
            _alias("udp-blocked", "an office NAT that lets no UDP pass", egress="no-udp"),
            _alias("tls-only", "a captive or company network: TCP to port 443 and nothing else", egress="tcp-443"),
            _alias("firewall", "a stateful firewall before public addresses, no NAT", mapping="none", filtering="APDF"),
            _alias(
                "ipv6-firewall",
                "IPv6 only, simple security of RFC 6092 in its strict form",
                **_PLAIN,
                ipv4=False,
                ipv6_filtering="APDF",
            ),
            _alias("ipv6-only", "IPv6 only, nothing filtered", **_PLAIN, ipv4=False, ipv6_filtering="none"),
            _alias("dual-stack", "NATed IPv4 and firewalled IPv6 (RFC 7084, RFC 6092)", ipv6_filtering="APDF"),
        )
    }
)


def parse_nat(spec: str | Dict[str, object] | NatBehaviour) -> NatBehaviour:
    """Return the behaviour that a scenario names.

    Args:
        spec: an alias; or the axes; or `alias:` with axes that override it; or a behaviour, which comes back as it is.

    Raises:
        ValueError: with one line that names the wrong axis and, where there is one, the likely right word.
    """
    if isinstance(spec, NatBehaviour):
        return spec
    if isinstance(spec, str):
        return _alias_named(spec).behaviour
    if not isinstance(spec, Dict):
        raise ValueError(f"a NAT is an alias or a mapping of axes, not {spec!r}")
    axes = dict(spec)
    base: dict[str, object] = {}
    if "alias" in axes:
        base = _alias_named(str(axes.pop("alias"))).behaviour.model_dump(exclude_defaults=True)
    for name in axes:
        if name not in NatBehaviour.model_fields:
            raise ValueError(f"unknown NAT axis {name!r}{_hint(str(name), NatBehaviour.model_fields)}")
    try:
        return NatBehaviour.model_validate(base | axes)
    except ValidationError as error:
        lines = [_one_line(problem["loc"], problem["msg"], problem["input"]) for problem in error.errors()]
        raise ValueError("; ".join(lines)) from None


def _alias_named(name: str) -> NatAlias:
    if name not in ALIASES:
        raise ValueError(f"unknown NAT {name!r}{_hint(name, ALIASES)}")
    return ALIASES[name]


def _hint(word: str, known: Iterable[str]) -> str:
    return did_you_mean(word, known) or f"; known: {', '.join(known)}"


def _one_line(place: tuple[int | str, ...], text: str, value: object) -> str:
    text = text.removeprefix("Value error, ")
    if not place:
        return text
    return f"{'.'.join(map(str, place))}: {text}, not {value!r}"
