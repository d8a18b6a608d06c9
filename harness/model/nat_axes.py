"""The axes of a NAT behaviour with their defaults; whether a combination can be is `nat_rules`'. Pure."""

from __future__ import annotations

from ipaddress import IPv6Network

from pydantic import BaseModel, ConfigDict, Field

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

DEFAULT_PORT_BLOCK_SIZE = 512


class NatAxes(BaseModel):
    """The fields of a behaviour, and what follows from them. Lifetimes are idle times."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mapping: Mapping = Mapping.EIM
    filtering: Filtering = Filtering.APDF
    port_allocation: PortAllocation = PortAllocation.PRESERVING
    port_step: int = Field(
        default=1,
        ge=-64,
        le=64,
        description="sequential allocation: distance of successive ports; below 0 they descend",
    )
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
    fragments: Fragments = Fragments.CARRY
    udp_rate_mbit: float | None = Field(
        default=None, gt=0, le=10_000, allow_inf_nan=False, description="each way; TCP is not policed"
    )
    mtu_errors: bool = Field(
        default=True,
        description="whether ICMP errors report packets that are too long for the line (RFC 1191, RFC 8201)",
    )
    mss_clamping: bool = Field(
        default=True, description="whether the MSS of TCP is clamped to the line's MTU, if that is below 1500 bytes"
    )
    ipv4: bool = True
    ipv6_filtering: Filtering | None = Field(default=None, description="absent: the router forwards no IPv6")
    nptv6: IPv6Network | None = Field(
        default=None, description="the IPv6 prefix that the outside sees in place of the inside prefix (RFC 6296)"
    )
    nat64: bool = Field(default=False, description="inside hosts with IPv6 reach IPv4 by 64:ff9b::/96 (RFC 6146)")

    @property
    def translates(self) -> bool:
        """True for a NAT, False for a router or firewall."""
        return self.mapping is not Mapping.NONE
