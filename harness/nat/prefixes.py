"""IPv6 prefixes that a router exchanges (RFC 6296, as Linux does it): the table as nftables text, the arithmetic. Pure.

The kernel's prefix map keeps the bits behind the prefix and corrects the checksum of the transport. RFC 6296 does it
the other way round: it corrects 16 bits of the address, so that no checksum changes. And connection tracking translates
a flow as its first packet, where the RFC's translator knows no flows. What peers see is the same: one address outside
for one inside, in both directions, with all its ports.
"""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv6Address, IPv6Network

from harness.model.nat import NatBehaviour
from harness.nat.ports import RouterPorts
from harness.nat.rules_words import chain, quoted

TABLE = "ip6 nat_v6"


def translated(address: str, prefix: IPv6Network) -> str:
    """Return an address with its first bits exchanged for a prefix."""
    return str(prefix[int(IPv6Address(address)) & int(prefix.hostmask)])


def prefix_table(behaviour: NatBehaviour, ports: RouterPorts) -> Iterator[str]:
    """Yield the lines of the table, indented; nothing where prefixes stay.

    Raises:
        ValueError: the inside is not one IPv6 network with a prefix of the same length.
    """
    outside = behaviour.nptv6
    if outside is None:
        return
    inside = inside_prefix(behaviour, ports)
    lan = quoted(ports.lans)
    inward = f"dnat ip6 prefix to ip6 daddr map {{ {outside} : {inside} }}"
    outward = f"snat ip6 prefix to ip6 saddr map {{ {inside} : {outside} }}"
    yield from chain("inbound", "nat hook prerouting priority dstnat", inward)
    # Between two inside hosts that know each other by outside addresses both ends are exchanged.
    yield from chain(
        "outbound",
        "nat hook postrouting priority srcnat",
        f'iifname {lan} oifname "{ports.wan}" {outward}',
        f"iifname {lan} oifname {lan} ct status dnat {outward}",
    )


def inside_prefix(behaviour: NatBehaviour, ports: RouterPorts) -> IPv6Network:
    """Return the prefix that inside hosts have.

    Raises:
        ValueError: there is not one, or it is of another length.
    """
    assert behaviour.nptv6 is not None
    if len(ports.lan_prefixes) != 1:
        raise ValueError(f"nptv6 exchanges the prefix of one inside network; {ports.wan}'s router has {_count(ports)}")
    (inside,) = map(IPv6Network, ports.lan_prefixes)
    if inside.prefixlen != behaviour.nptv6.prefixlen:
        raise ValueError(
            f"nptv6 {behaviour.nptv6} is not as long as the inside's prefix {inside}; this lab extends none"
        )
    return inside


def _count(ports: RouterPorts) -> str:
    return f"{len(ports.lan_prefixes)} of IPv6" if ports.lan_prefixes else "none of IPv6"
