"""A router's IPv6 side: no addresses or ports are translated, and what is left is a firewall. Pure."""

from __future__ import annotations

from harness.model.nat import Filtering, Mapping, NatBehaviour, Unsolicited

# What a behaviour says that holds in both IP versions.
_SHARED = (
    *("udp_lifetime_s", "udp_refresh", "tcp_established_lifetime_s", "tcp_transitory_lifetime_s", "icmp_lifetime_s"),
    *("session_cap", "egress"),
)


def ipv6_alone(behaviour: NatBehaviour) -> NatBehaviour:
    """Return what a router does where there is no IPv4: the same behaviour with `ipv4: false`.

    Raises:
        pydantic.ValidationError: it forwards no IPv6 either.
    """
    axes = {"ipv4": False, "filtering": Filtering.NONE, "ipv6_filtering": behaviour.ipv6_filtering}
    return NatBehaviour.model_validate(_shared(behaviour) | axes)


def as_seen_in_ipv6(behaviour: NatBehaviour) -> NatBehaviour | None:
    """Return the router that does in IPv4 what this one does in IPv6; None where it forwards no IPv6."""
    if behaviour.ipv6_filtering is None:
        return None
    return NatBehaviour.model_validate(_shared(behaviour) | {"filtering": behaviour.ipv6_filtering})


def _shared(behaviour: NatBehaviour) -> dict[str, object]:
    axes: dict[str, object] = {name: getattr(behaviour, name) for name in _SHARED}
    filters = behaviour.ipv6_filtering not in {None, Filtering.NONE}
    # Stock Linux poisons ports of its NAT; without one there is no port to take away.
    if behaviour.unsolicited is Unsolicited.REJECT and filters:
        axes["unsolicited"] = Unsolicited.REJECT
    return axes | {"mapping": Mapping.NONE}
