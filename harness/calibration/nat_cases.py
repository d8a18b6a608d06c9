"""The cases of `calibrate nat`: every combination of axes that one pass can see, and those that take waiting. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from harness.model.nat import (
    ALIASES,
    Egress,
    Filtering,
    Fragments,
    Hairpinning,
    Mapping,
    NatBehaviour,
    Pooling,
    PortAllocation,
    Refresh,
    Unsolicited,
)
from harness.nat.ports import FULL_MTU_BYTES

Kind = Literal["behaviour", "lifetimes", "limits", "families", "port-mapping", "line", "nat64"]

# Short, or a calibration would take as long as they are; that a rule's number counts is shown by two of them.
LIFETIMES_S = (1, 2)
SESSION_CAP = 10
# Of a case about the line; above what IPv6 needs.
LINE_MTU_BYTES = 1400
# Of a case about prefixes; routed to the router, as everything but the outside's own network is.
OUTSIDE_PREFIX = "2a0e:45:0:9::/64"

_MAPPINGS = (Mapping.EIM, Mapping.ADM, Mapping.APDM)
_FILTERS = (Filtering.EIF, Filtering.ADF, Filtering.APDF)


@dataclass(frozen=True)
class Case:
    """One behaviour and the kind of test that it gets."""

    name: str
    kind: Kind
    behaviour: NatBehaviour

    @property
    def line_mtu_bytes(self) -> int:
        """The longest packet that the router's access link carries."""
        return LINE_MTU_BYTES if self.kind == "line" else FULL_MTU_BYTES


def all_cases() -> tuple[Case, ...]:
    """Return every case; names are unique."""
    found: dict[str, Case] = {}
    for case in itertools.chain(*(some() for some in _FAMILIES_OF_CASES)):
        found.setdefault(case.name, case)
    return tuple(found.values())


def _case(kind: Kind, **axes: object) -> Case | None:
    """Return a case, or None where the model refuses the combination."""
    try:
        behaviour = NatBehaviour.model_validate(axes)
    except ValueError:
        return None
    return Case(f"{kind}:{behaviour.axes_label}", kind, behaviour)


def _possible(cases: Iterator[Case | None]) -> Iterator[Case]:
    return (case for case in cases if case is not None)


def _aliases() -> Iterator[Case]:
    for alias in ALIASES.values():
        behaviour = alias.behaviour
        if behaviour.ipv4:
            yield Case(alias.name, "behaviour", behaviour)
        if behaviour.ipv6_filtering is not None:
            yield Case(f"{alias.name}:families", "families", behaviour)
        if behaviour.nat64:
            yield Case(f"{alias.name}:nat64", "nat64", behaviour)
        if behaviour.port_mapping:
            yield Case(f"{alias.name}:port-mapping", "port-mapping", behaviour)


def _grid() -> Iterator[Case]:
    axes = itertools.product(_MAPPINGS, _FILTERS, PortAllocation, Hairpinning, Pooling, Unsolicited)
    return _possible(
        _case(
            "behaviour",
            mapping=mapping,
            filtering=filtering,
            port_allocation=allocation,
            hairpinning=hairpinning,
            pooling=pooling,
            pool_size=pool_size,
            unsolicited=unsolicited,
        )
        for mapping, filtering, allocation, hairpinning, pooling, unsolicited in axes
        for pool_size in ((1, 2) if pooling is Pooling.PAIRED else (2,))
    )


def _parameters() -> Iterator[Case]:
    """Yield the numbers of an axis, and what may be blocked, with every mapping."""
    yield from _possible(
        _case("behaviour", mapping=m, port_allocation=PortAllocation.SEQUENTIAL, port_step=step)
        for m in _MAPPINGS
        for step in (2, 5, -1, -3)
    )
    yield from _possible(
        _case("behaviour", mapping=m, port_allocation=PortAllocation.BLOCK, port_block_size=size)
        for m in _MAPPINGS
        for size in (64, 4096)
    )
    yield from _possible(
        _case("behaviour", mapping=m, filtering=f, egress=egress)
        for m in _MAPPINGS
        for f in _FILTERS
        for egress in (Egress.NO_UDP, Egress.TCP_443)
    )


def _line() -> Iterator[Case]:
    """Yield what a router does to packets whatever their mappings."""
    yield from _possible(
        _case("behaviour", mapping=m, filtering=Filtering.EIF, fragments=Fragments.DROP)
        for m in (Mapping.NONE, *_MAPPINGS)
    )
    yield from _possible(
        _case("line", mapping=m, mtu_errors=errors, mss_clamping=clamping, ipv6_filtering=Filtering.APDF)
        for m in (Mapping.NONE, *_MAPPINGS)
        for errors in (True, False)
        for clamping in (True, False)
    )
    yield from _possible(
        _case("limits", mapping=m, filtering=Filtering.EIF, udp_rate_mbit=rate)
        for m, rate in ((Mapping.NONE, 4), (Mapping.EIM, 4), (Mapping.EIM, 8))
    )
    yield from _possible(
        iter([_case("families", mapping=Mapping.EIM, fragments=Fragments.DROP, ipv6_filtering=Filtering.APDF)])
    )


def _firewalls() -> Iterator[Case]:
    for filtering in (Filtering.NONE, *_FILTERS):
        for unsolicited in (Unsolicited.DROP, Unsolicited.REJECT):
            for egress in Egress:
                plain = {"mapping": Mapping.NONE, "filtering": filtering, "unsolicited": unsolicited, "egress": egress}
                yield from _possible(iter([_case("behaviour", **plain)]))


def _lifetimes() -> Iterator[Case]:
    # A mapping that was lost would come back unnoticed where the port is preserved.
    allocation = {m: {"port_allocation": PortAllocation.RANDOM} for m in _MAPPINGS}
    for lifetime_s in LIFETIMES_S:
        lives = dict.fromkeys(("udp_lifetime_s", "tcp_established_lifetime_s", "tcp_transitory_lifetime_s"), lifetime_s)
        yield from _possible(
            _case("lifetimes", mapping=m, filtering=f, udp_refresh=refresh, **lives, **allocation.get(m, {}))
            for m in (Mapping.NONE, *_MAPPINGS)
            for f in _FILTERS
            for refresh in Refresh
            if lifetime_s == LIFETIMES_S[0] or m is Mapping.EIM
        )

    # A connection in use lives longer than one that is closed, as it should (RFC 5382 REQ-5).
    yield from _possible(
        _case(
            "lifetimes",
            mapping=m,
            filtering=Filtering.EIF,
            port_allocation=PortAllocation.RANDOM,
            udp_lifetime_s=LIFETIMES_S[0],
            tcp_established_lifetime_s=LIFETIMES_S[1],
            tcp_transitory_lifetime_s=LIFETIMES_S[0],
        )
        for m in _MAPPINGS
    )


def _limits() -> Iterator[Case]:
    yield from _possible(
        _case("limits", mapping=m, filtering=f, session_cap=SESSION_CAP)
        for m in (Mapping.NONE, *_MAPPINGS)
        for f in (Filtering.NONE, *_FILTERS)
    )
    yield from _possible(
        _case("limits", mapping=m, filtering=Filtering.APDF, session_cap=SESSION_CAP, ipv6_filtering=Filtering.APDF)
        for m in (Mapping.NONE, Mapping.EIM)
    )
    yield from _possible(
        _case("limits", mapping=m, port_allocation=PortAllocation.BLOCK, port_block_size=64) for m in _MAPPINGS
    )


def _families() -> Iterator[Case]:
    yield from _possible(
        _case("families", mapping=m, ipv6_filtering=six, unsolicited=unsolicited, nptv6=OUTSIDE_PREFIX)
        for m in (Mapping.EIM, Mapping.APDM)
        for six in Filtering
        for unsolicited in (Unsolicited.DROP, Unsolicited.REJECT)
    )
    yield from _possible(
        _case("families", mapping=m, filtering=f, ipv4=ipv4, ipv6_filtering=six, unsolicited=unsolicited)
        for m, f, ipv4 in (
            (Mapping.NONE, Filtering.NONE, False),
            (Mapping.NONE, Filtering.NONE, True),
            (Mapping.EIM, Filtering.APDF, True),
            (Mapping.APDM, Filtering.APDF, True),
        )
        for six in (None, *Filtering)
        for unsolicited in (Unsolicited.DROP, Unsolicited.REJECT)
    )


def _translated() -> Iterator[Case]:
    """Yield what hosts with IPv6 alone get in IPv4."""
    return _possible(
        _case("nat64", mapping=m, filtering=f, port_allocation=a, nat64=True, ipv6_filtering=Filtering.APDF)
        for m in _MAPPINGS
        for f in _FILTERS
        for a in (PortAllocation.PRESERVING, PortAllocation.RANDOM, PortAllocation.SEQUENTIAL)
    )


_FAMILIES_OF_CASES = (_aliases, _grid, _parameters, _line, _firewalls, _lifetimes, _limits, _families, _translated)
