"""The combinations of axes that no equipment could have, or that nothing could tell from another. Pure."""

from __future__ import annotations

from harness.model.nat_axes import DEFAULT_PORT_BLOCK_SIZE, NatAxes
from harness.model.nat_words import (
    Filtering,
    Hairpinning,
    Mapping,
    Pooling,
    PortAllocation,
    PortMappingProtocol,
    Refresh,
    Unsolicited,
)


def impossible(behaviour: NatAxes) -> list[str]:
    """Return why this behaviour cannot be, one reason a rule; empty where it can."""
    return [reason for rule in _RULES for reason in [rule(behaviour)] if reason]


def _allocation_parameters(b: NatAxes) -> str:
    if b.port_step == 0:
        return "port_step 0 would give all mappings one port (port overloading, RFC 4787 REQ-3)"
    if b.port_step != 1 and b.port_allocation is not PortAllocation.SEQUENTIAL:
        return f"port_step is for sequential allocation; {b.port_allocation.value} ports cannot follow a sequence too"
    if b.port_block_size != DEFAULT_PORT_BLOCK_SIZE and b.port_allocation is not PortAllocation.BLOCK:
        return f"port_block_size is for block allocation, not for {b.port_allocation.value}"
    return ""


def _router_without_nat(b: NatAxes) -> str:
    if b.translates:
        return ""
    defaults = NatAxes.model_fields
    for name in ("port_allocation", "hairpinning", "pooling", "pool_size", "port_mapping"):
        if getattr(b, name) != defaults[name].default:
            return f"{name} needs a mapping: a router without NAT has no external ports or addresses"
    filters = {b.filtering, b.ipv6_filtering} & {Filtering.EIF, Filtering.ADF, Filtering.APDF}
    if b.unsolicited is not Unsolicited.DROP and not filters:
        return "unsolicited has no meaning without filtering: nothing is unsolicited"
    return ""


def _nat_filters(b: NatAxes) -> str:
    if b.translates and b.filtering is Filtering.NONE:
        return "filtering none needs mapping none: a NAT cannot deliver what it has no mapping for (its least is EIF)"
    return ""


def _observable_hairpin(b: NatAxes) -> str:
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


def _pool(b: NatAxes) -> str:
    if b.pooling is Pooling.ARBITRARY and b.pool_size < 2:
        return "pooling arbitrary needs pool_size 2 or more: one address leaves nothing to choose"
    if b.pooling is Pooling.ARBITRARY and b.port_allocation is PortAllocation.BLOCK:
        return "port_allocation block gives a subscriber ports of one address, so its pooling is paired"
    return ""


def _poisons_is_stock_linux(b: NatAxes) -> str:
    if b.unsolicited is not Unsolicited.POISONS:
        return ""
    wanted = (Mapping.EIM, Filtering.APDF, PortAllocation.PRESERVING, Hairpinning.OFF, 1, Refresh.BOTH, ())
    if (b.mapping, b.filtering, b.port_allocation, b.hairpinning, b.pool_size, b.udp_refresh, b.port_mapping) != wanted:
        return (
            "unsolicited poisons is a fault of stock Linux, which is EIM, APDF, preserving, without hairpinning, "
            "on one address, refreshed by both directions; no other equipment is known to have it"
        )
    return ""


def _address_families(b: NatAxes) -> str:
    if b.ipv4:
        return ""
    if b.ipv6_filtering is None:
        return "ipv4 false without ipv6_filtering: the router would forward nothing"
    if b.translates or b.filtering is not Filtering.NONE:
        return "ipv4 false leaves nothing to map or filter: say mapping none and filtering none"
    return ""


def _prefixes(b: NatAxes) -> str:
    if b.nptv6 is not None and b.ipv6_filtering is None:
        return "nptv6 without ipv6_filtering: the router forwards no IPv6 whose prefix it could exchange"
    return ""


def _translator(b: NatAxes) -> str:
    if not b.nat64:
        return ""
    if b.ipv6_filtering is None:
        return "nat64 without ipv6_filtering: the router forwards no IPv6 that it could translate"
    if not b.translates:
        return "nat64 needs a mapping: who has IPv6 alone has no IPv4 address that could stay (RFC 6146)"
    if b.port_allocation is PortAllocation.BLOCK:
        return "nat64 takes the IPv4 addresses of its hosts as they come: port_allocation block knows none beforehand"
    return ""


def _one_daemon(b: NatAxes) -> str:
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
    _prefixes,
    _translator,
)
