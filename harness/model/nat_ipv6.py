"""A router's IPv6 side: a firewall, which may exchange the prefix of addresses; ports are never translated. Pure."""

from __future__ import annotations

from harness.model.nat import Filtering, Hairpinning, Mapping, NatBehaviour, Unsolicited

# What a behaviour says that holds in both IP versions.
_SHARED = (
    *("udp_lifetime_s", "udp_refresh", "tcp_established_lifetime_s", "tcp_transitory_lifetime_s", "icmp_lifetime_s"),
    *("session_cap", "egress", "fragments", "udp_rate_mbit"),
    *("mtu_errors", "mss_clamping"),
)


def ipv6_alone(behaviour: NatBehaviour) -> NatBehaviour:
    """Return what a router does where there is no IPv4: the same behaviour with `ipv4: false`.

    Raises:
        pydantic.ValidationError: it forwards no IPv6 either.
    """
    axes: dict[str, object] = {"ipv4": False, "filtering": Filtering.NONE, "ipv6_filtering": behaviour.ipv6_filtering}
    axes["nptv6"] = behaviour.nptv6
    return NatBehaviour.model_validate(_shared(behaviour) | axes)


def as_seen_in_ipv6(behaviour: NatBehaviour) -> NatBehaviour | None:
    """Return the firewall that does in IPv4 what this one does in IPv6; None where it forwards no IPv6.

    What it does to prefixes is left out: see `as_peers_see_ipv6`.
    """
    if behaviour.ipv6_filtering is None:
        return None
    return NatBehaviour.model_validate(_shared(behaviour) | {"filtering": behaviour.ipv6_filtering})


def as_peers_see_ipv6(behaviour: NatBehaviour) -> NatBehaviour | None:
    """Return the same as somebody sees it who wants to get in: with another prefix, it is a NAT of independent mapping.

    Each inside endpoint has one outside endpoint for all destinations, with its own port, whether or not it is in use.
    """
    seen = as_seen_in_ipv6(behaviour)
    if seen is None or behaviour.nptv6 is None:
        return seen
    # A NAT filters at least what it has no mapping for, and a peer sends to nothing else.
    filtering = Filtering.EIF if seen.filtering is Filtering.NONE else seen.filtering
    nat = {"mapping": Mapping.EIM, "filtering": filtering, "hairpinning": Hairpinning.EXTERNAL_SOURCE}
    return NatBehaviour.model_validate(seen.model_dump() | nat)


def _shared(behaviour: NatBehaviour) -> dict[str, object]:
    axes: dict[str, object] = {name: getattr(behaviour, name) for name in _SHARED}
    filters = behaviour.ipv6_filtering not in {None, Filtering.NONE}
    # Stock Linux poisons ports of its NAT; without one there is no port to take away.
    if behaviour.unsolicited is Unsolicited.REJECT and filters:
        axes["unsolicited"] = Unsolicited.REJECT
    return axes | {"mapping": Mapping.NONE}
