"""NAT and firewall behaviours: the axes of RFC 4787 and their neighbours, and aliases for them.

A behaviour is a claim. `harness/nat` renders it to a ruleset and proves it by measurement; this module knows neither.
"""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Mapping as Dict
from dataclasses import dataclass
from types import MappingProxyType
from typing import Self

from pydantic import ValidationError, model_validator

from harness.model.document import did_you_mean
from harness.model.nat_axes import NatAxes
from harness.model.nat_rules import impossible
from harness.model.nat_words import (
    Egress,
    Filtering,
    Fragments,
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
    "Fragments",
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


class NatBehaviour(NatAxes):
    """One router's behaviour on every axis.

    With `mapping` none it is a plain router or, if it filters, a stateful firewall. Lifetimes are idle times.

    Raises:
        pydantic.ValidationError: at construction, for a combination that no equipment could have or that nothing
            could tell from another; the text gives the reason.
    """

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
        reasons = impossible(self)
        if reasons:
            raise ValueError("; ".join(reasons))
        return self


def _plain(value: object) -> str:
    if isinstance(value, Filtering):
        return value.short
    if isinstance(value, tuple):
        return "+".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).lower() if isinstance(value, bool) else str(value)


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
                "symmetric-descending",
                "the same with descending ports, which a predictor that only counts upwards misses",
                mapping="APDM",
                port_allocation="sequential",
                port_step=-1,
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
                "a good home router: RFC 4787 and 5382, with the strict filter",
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
            _alias(
                "fragment-dropper",
                "a NAT that lets no fragment pass, against RFC 4787 REQ-14",
                fragments="drop",
            ),
            _alias(
                "udp-policed",
                "a network that polices UDP, here to 5 Mbit/s each way, and leaves TCP alone",
                udp_rate_mbit=5,
            ),
            _alias(
                "mtu-black-hole",
                "a router that sends no MTU errors and clamps no MSS (RFC 2923 section 2.1)",
                mtu_errors=False,
                mss_clamping=False,
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
            _alias(
                "ds-lite",
                "a DS-Lite or 464XLAT home: the carrier's NAT alone (RFC 6333, RFC 6877); IPv6 behind a firewall",
                **_PLAIN,
                ipv6_filtering="APDF",
            ),
            _alias(
                "nat64",
                "a mobile carrier's translator for hosts with IPv6 alone (RFC 6146 section 3: EIM; ADF for safety)",
                filtering="ADF",
                port_allocation="random",
                ipv6_filtering="APDF",
                nat64=True,
            ),
            _alias("dual-stack", "NATed IPv4 and firewalled IPv6 (RFC 7084, RFC 6092)", ipv6_filtering="APDF"),
        )
    }
)


# What routers can do elsewhere, and none here: refused by name, since a guess at what was meant would be wrong.
_NOT_EMULATED: Dict[str, str] = MappingProxyType(
    {
        "nat66": "no router of a lab hides IPv6 hosts behind one address; `nptv6` exchanges their prefix (RFC 6296)",
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
        if name in _NOT_EMULATED:
            raise ValueError(f"{name}: {_NOT_EMULATED[name]}")
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
