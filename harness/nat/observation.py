"""A discovery's observations, and where they differ from what a router was declared to be. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Literal

from harness.model.nat import (
    Egress,
    Filtering,
    Fragments,
    Hairpinning,
    Mapping,
    NatBehaviour,
    Pooling,
    PortAllocation,
    PortMappingProtocol,
    Refresh,
    Unsolicited,
)
from harness.nat.ports import FULL_MTU_BYTES

IcmpSource = Literal["inside", "as TCP", "another"]
"""From where the outside sees a host's echoes: its inside address, the external one of its TCP, or some other."""


@dataclass(frozen=True, kw_only=True)
class Observation:
    """Every axis that was looked at; None where a test was not made or could not tell.

    A lifetime is a pair in seconds: alive at the first, dead at the second.
    """

    mapping: Mapping | None = None
    filtering: Filtering | None = None
    port_allocation: PortAllocation | None = None
    port_step: int | None = None
    port_span: int | None = None  # distance of the lowest and highest port of one subscriber's flows
    hairpinning: Hairpinning | None = None
    pooling: Pooling | None = None
    unsolicited: Unsolicited | None = None
    tcp_unsolicited: Unsolicited | None = None
    tcp_mapping: Mapping | None = None
    tcp_filtering: Filtering | None = None
    tcp_hairpinning: Hairpinning | None = None
    tcp_port_allocation: PortAllocation | None = None
    tcp_port_step: int | None = None
    tcp_pooling: Pooling | None = None
    udp_lifetime_s: tuple[float, float] | None = None
    udp_refresh: Refresh | None = None
    tcp_established_lifetime_s: tuple[float, float] | None = None
    tcp_transitory_lifetime_s: tuple[float, float] | None = None
    icmp_echo: bool | None = None
    icmp_source: IcmpSource | None = None
    icmp_error: bool | None = None  # about an outbound datagram, from its destination
    hop_error: bool | None = None  # the same, from a router on the way
    fragments: bool | None = None
    no_checksum: bool | None = None
    invalid_leaks: bool | None = None
    silent_hairpin: bool | None = None
    session_cap: int | None = None
    ipv6_session_cap: int | None = None
    flows_in_block: int | None = None
    egress: Egress | None = None
    ipv4: bool | None = None
    ipv6: bool | None = None
    ipv6_filtering: Filtering | None = None
    ipv6_tcp_filtering: Filtering | None = None
    ipv6_fragments: bool | None = None
    nptv6: str | None = None  # the prefix in which the outside sees inside hosts; `own`, or `translated` otherwise
    ipv6_hairpinning: Hairpinning | None = None  # where prefixes are exchanged; else nothing is to be hairpinned
    nat64: bool | None = None  # whether hosts with IPv6 alone reach IPv4 at all
    mtu_errors: bool | None = None
    ipv6_mtu_errors: bool | None = None
    mss_mtu_bytes: tuple[int, int] | None = None  # for which MTU a connection's ends take the path: inside, outside
    ipv6_mss_mtu_bytes: tuple[int, int] | None = None
    udp_rate_mbit: tuple[float, float] | None = None
    udp_rate_inward_mbit: tuple[float, float] | None = None
    port_mapping: tuple[PortMappingProtocol, ...] | None = None
    early_packet_ms: float | None = None  # how long a peer's first packet came before (late: negative) the inside's

    @property
    def label(self) -> str:
        """The observed behaviour in the form of `NatBehaviour.axes_label`: mapping/filtering/allocation."""
        words = [
            value.short if isinstance(value, Mapping | Filtering) else value.value
            for value in (self.mapping, self.filtering, self.port_allocation)
            if value is not None
        ]
        if self.egress not in (None, Egress.ANY):
            words.append(f"egress={self.egress}")
        if self.ipv6_filtering is not None:
            words.append(f"ipv6={self.ipv6_filtering.short}")
        if self.nat64:
            words.append("nat64")
        if self.nptv6 not in (None, "own"):
            words.append(f"nptv6={self.nptv6}")
        return "/".join(words)

    def as_dict(self) -> dict[str, object]:
        """Return what was seen, without what was not looked at; ready for JSON."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: value.short if isinstance(value, Mapping | Filtering) else value
            for name, value in found.items()
            if value is not None
        }


def differences(declared: NatBehaviour, seen: Observation) -> tuple[str, ...]:
    """Return each axis on which a router is not what it was declared to be, as `axis: declared X, observed Y`."""
    return tuple(
        f"{axis}: declared {_word(wanted)}, observed {_word(found)}"
        for axis, wanted, found in _compared(declared, seen)
        if found is not None and not _agree(wanted, found)
    )


def _compared(b: NatBehaviour, seen: Observation) -> Iterator[tuple[str, object, object]]:
    same = (
        *("mapping", "filtering", "hairpinning", "pooling", "unsolicited", "port_allocation", "udp_refresh"),
        *(
            "udp_lifetime_s",
            "tcp_established_lifetime_s",
            "tcp_transitory_lifetime_s",
            "egress",
            "ipv4",
            "ipv6_filtering",
        ),
    )
    for axis in same:
        yield axis, getattr(b, axis), getattr(seen, axis)
    yield "ipv6", b.ipv6_filtering is not None, seen.ipv6
    yield "ipv6_hairpinning", Hairpinning.EXTERNAL_SOURCE, seen.ipv6_hairpinning
    yield "nat64", b.nat64, seen.nat64
    yield "nptv6", "own" if b.nptv6 is None else str(b.nptv6), seen.nptv6
    if seen.port_mapping is not None:
        yield "port_mapping", sorted(b.port_mapping), sorted(seen.port_mapping)
    yield "mtu_errors", b.mtu_errors, seen.mtu_errors
    yield "ipv6_mtu_errors", b.mtu_errors, seen.ipv6_mtu_errors
    for version, mtus in (("", seen.mss_mtu_bytes), ("ipv6_", seen.ipv6_mss_mtu_bytes)):
        told = {mtu < FULL_MTU_BYTES for mtu in mtus or ()}
        yield f"{version}mss_clamping", b.mss_clamping, None if mtus is None else told == {True}
        # Neither end alone: a router that clamps does so in both directions, to one number.
        yield f"{version}mss_agrees", True, None if mtus is None else len(set(mtus)) == 1
    yield "udp_rate_mbit", b.udp_rate_mbit, seen.udp_rate_mbit
    yield "udp_rate_inward_mbit", b.udp_rate_mbit, seen.udp_rate_inward_mbit
    yield "session_cap", b.session_cap, seen.session_cap
    yield "ipv6_session_cap", b.session_cap, seen.ipv6_session_cap
    yield "ipv6_tcp_filtering", b.ipv6_filtering, seen.ipv6_tcp_filtering
    if seen.flows_in_block is not None:
        yield "port_block_size", True, seen.flows_in_block <= b.port_block_size
    yield "tcp_mapping", b.mapping, seen.tcp_mapping
    yield "tcp_filtering", b.filtering, seen.tcp_filtering
    yield "tcp_port_allocation", b.port_allocation, seen.tcp_port_allocation
    yield "tcp_pooling", b.pooling, seen.tcp_pooling
    # A TCP call whose source stays internal is answered past the router, so it cannot succeed.
    tcp_hairpin = Hairpinning.OFF if b.hairpinning is Hairpinning.INTERNAL_SOURCE else b.hairpinning
    yield "tcp_hairpinning", tcp_hairpin, seen.tcp_hairpinning
    # Poisoning shows in UDP; to an unsolicited SYN the router itself answers with a reset.
    tcp_reaction = Unsolicited.REJECT if b.unsolicited is Unsolicited.POISONS else b.unsolicited
    yield "tcp_unsolicited", tcp_reaction, seen.tcp_unsolicited
    if b.port_allocation is PortAllocation.SEQUENTIAL:
        yield "port_step", b.port_step, seen.port_step
        yield "tcp_port_step", b.port_step, seen.tcp_port_step
    if b.port_allocation is PortAllocation.BLOCK and seen.port_span is not None:
        yield "port_span", True, seen.port_span < b.port_block_size
    yield "icmp_echo", b.egress is not Egress.TCP_443, seen.icmp_echo
    if b.pooling is Pooling.PAIRED or seen.icmp_source == "inside":
        yield "icmp_source", "as TCP" if b.translates else "inside", seen.icmp_source
    yield "invalid_leaks", False, seen.invalid_leaks
    # Stock Linux answers a hairpin itself.
    yield "silent_hairpin", b.unsolicited is not Unsolicited.POISONS, seen.silent_hairpin
    yield "fragments", b.egress is Egress.ANY and b.fragments is Fragments.CARRY, seen.fragments
    yield "ipv6_fragments", b.fragments is Fragments.CARRY, seen.ipv6_fragments
    for axis in ("icmp_error", "hop_error", "no_checksum"):
        yield axis, b.egress is Egress.ANY, getattr(seen, axis)


def _agree(wanted: object, found: object) -> bool:
    if isinstance(found, tuple):
        alive_s, dead_s = found
        return isinstance(wanted, int | float) and alive_s <= wanted <= dead_s
    return wanted == found


def _word(value: object) -> str:
    if isinstance(value, Mapping | Filtering):
        return value.short
    if isinstance(value, tuple):
        return f"between {value[0]:.2f} and {value[1]:.2f}"
    return str(value)
