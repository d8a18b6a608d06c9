"""The theory of two hosts behind given routers that try to connect over UDP: direct, relayed, or a probability.

Both know each other's server-reflexive address (RFC 8445 section 4: what a server saw) and send to it, again and again,
from the one socket with which they asked the server. The reasoning is on paths of single packets:

* A packet from A gets in at B if B's filter lets it: B's mapping towards the server is what A sends to. With EIF it
  always does. With ADF, B must have sent to A's address *through this mapping*, so B must be EIM; with APDF A's source
  must also be the port to which B sends, so A must be EIM as well (RFC 4787 sections 4.1 and 5).
* If it gets in, B sees where it came from (a peer-reflexive address, RFC 8445 section 7.3.1.3) and answers there. A has
  sent to where the answer comes from, so A's filter passes it: one direction that works makes both work.
* This fails only where B's answer leaves through another mapping than A's packet came in by, which an EIM never does.

`tests/unit/test_nat_oracle.py` holds these rules against the simulated NAT for every pair of behaviours.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from harness.model.nat import (
    Egress,
    Filtering,
    Hairpinning,
    Mapping,
    NatBehaviour,
    PortAllocation,
    PortMappingProtocol,
    Unsolicited,
)
from harness.nat.ports import PORT_COUNT
from harness.nat.rules_nat import SEQUENCE_LENGTH

# `either`: both may come.
PathExpected = Literal["direct", "relayed", "either", "none"]


class Technique(StrEnum):
    """The means by which an overlay gets a direct path. `first-path` and all after it include those before, but for
    `same-port`, and `port-mapping` includes `peer-reflexive`."""

    PLAIN = "plain"  # sends to the server-reflexive address, believes no other
    SAME_PORT = "same-port"  # sends to the other's address at the port where it listens itself; believes any source
    FIRST_PATH = "first-path"  # answers to where a packet came from, and keeps the first path that works, a relay too
    PEER_REFLEXIVE = "peer-reflexive"  # answers to where a packet came from (ICE, WireGuard's roaming)
    PORT_PREDICTION = "port-prediction"  # also sends to the next ports of a sequence (Ford et al. 2005, section 5.1)
    BIRTHDAY = "birthday"  # also opens many ports on one side and tries many on the other
    PORT_MAPPING = "port-mapping"  # peer-reflexive, and asks its router for a mapping (RFC 6886, RFC 6887, UPnP IGD)


ALL_PROTOCOLS = frozenset(PortMappingProtocol)
ASKS_NOBODY: frozenset[PortMappingProtocol] = frozenset()


@dataclass(frozen=True)
class Expectation:
    """What must happen. `probability` is of a direct path; `either` is open, and `reason` says what decides."""

    path: PathExpected
    probability: float
    reason: str
    formula: str = ""


@dataclass(frozen=True)
class _Side:
    """A stack of routers seen as one: the worst mapping, the strictest filter."""

    mapping: Mapping
    filtering: Filtering
    ports: int  # among how many a port for a new destination is drawn; 1 where it can be predicted
    poisons: bool
    keeps_ports: bool


_MAPPING_ORDER = (Mapping.NONE, Mapping.EIM, Mapping.ADM, Mapping.APDM)
_FILTER_ORDER = (Filtering.NONE, Filtering.EIF, Filtering.ADF, Filtering.APDF)


def expected_path(
    a: Sequence[NatBehaviour],
    b: Sequence[NatBehaviour],
    technique: str,
    shared_layers: int = 0,
    *,
    asks_by: Collection[PortMappingProtocol] = ASKS_NOBODY,
    host_candidates: bool = True,
    tried_ports: int = 256,
    opened_ports: int = 256,
    guesses_both: bool = True,
) -> Expectation:
    """Return the path that two hosts end up with.

    Args:
        a: the routers in front of one host, nearest first; empty for a public host.
        b: those of the other.
        technique: a `Technique`.
        shared_layers: how many of the outermost routers are the same for both: with all of them the hosts are in one
            network, with one of two they are customers of one carrier.
        asks_by: the protocols by which both ask their routers for a port, whatever else they do; `port-mapping` asks by
            all of them.
        host_candidates: whether the hosts tell each other their inside addresses.
        tried_ports: birthday: how many of the other's ports one side tries.
        opened_ports: birthday: how many mappings the other side opens.
        guesses_both: birthday: whether it is tried where both mappings depend on the destination.

    Raises:
        ValueError: no such technique, or more shared layers than there are routers.
    """
    how = Technique(technique)
    if shared_layers > min(len(a), len(b)) or a[len(a) - shared_layers :] != b[len(b) - shared_layers :]:
        raise ValueError(f"{shared_layers} shared layers do not fit stacks of {len(a)} and {len(b)} routers")
    common = a[len(a) - shared_layers :]
    if not any(router.translates or not router.ipv4 or router.egress is not Egress.ANY for router in common):
        # What goes between two hosts behind one firewall does not cross it, and there is no address of its outside.
        a, b, shared_layers = a[: len(a) - shared_layers], b[: len(b) - shared_layers], 0
    if shared_layers and len(a) == len(b) == shared_layers and host_candidates:
        return Expectation("direct", 1.0, "both are in one network and know each other's inside addresses")
    between = _between(a, b, shared_layers)
    if between is not None:
        return between
    if not all(router.ipv4 for router in (*a, *b)):
        return Expectation("none", 0.0, "a router forwards no IPv4")
    if any(router.egress is not Egress.ANY for router in (*a, *b)):
        return Expectation("relayed", 0.0, "a router lets no UDP out, and TCP reaches the relay alone")
    asked = ALL_PROTOCOLS if how is Technique.PORT_MAPPING else frozenset(asks_by)
    sides = _side(a, how, asked), _side(b, how, asked)
    return _punch(*sides, how, (tried_ports, opened_ports) if guesses_both or any(map(_is_eim, sides)) else None)


def _between(a: Sequence[NatBehaviour], b: Sequence[NatBehaviour], shared_layers: int) -> Expectation | None:
    """Return what the nearest shared router decides by itself: the way back through its inside (RFC 4787 section 6)."""
    if not shared_layers:
        return None
    shared = a[len(a) - shared_layers]
    own = (*a[: len(a) - shared_layers], *b[: len(b) - shared_layers])
    if not shared.translates:
        return None
    if shared.hairpinning is Hairpinning.OFF:
        return Expectation("relayed", 0.0, "the shared router does not hairpin (RFC 4787 REQ-9 asks for it)")
    if shared.hairpinning is Hairpinning.INTERNAL_SOURCE:
        if all(router.filtering in (Filtering.NONE, Filtering.EIF) for router in own):
            return Expectation(
                "direct", 1.0, "the hairpinned packet shows its inside source, and the answer goes there"
            )
        return Expectation("relayed", 0.0, "the hairpinned packet shows an inside source that the filters do not know")
    return None


def _side(stack: Sequence[NatBehaviour], how: Technique, asked: frozenset[PortMappingProtocol]) -> _Side:
    """Return a stack as one router. A port is had of a host's only NAT: one behind another refuses (miniupnpd), and
    beyond its own LAN no host asks.

    A mapping is only as independent of the destination as the least independent layer, and a packet must pass every
    filter (RFC 7021 section 4 has measurements of such stacks).
    """
    nats = [router for router in stack if router.translates]
    if len(nats) == 1 and asked.intersection(nats[0].port_mapping):
        rest = [router for router in stack if not router.translates]
        strictest = max((r.filtering for r in rest), key=_FILTER_ORDER.index, default=Filtering.EIF)
        return _Side(Mapping.EIM, max(strictest, Filtering.EIF, key=_FILTER_ORDER.index), 1, False, False)
    mapping = max((router.mapping for router in stack), key=_MAPPING_ORDER.index, default=Mapping.NONE)
    filtering = max((router.filtering for router in stack), key=_FILTER_ORDER.index, default=Filtering.NONE)
    worst = [router for router in nats if router.mapping in (Mapping.ADM, Mapping.APDM)]
    ports = math.prod(_choice(router, how) for router in worst[-1:]) if worst else 1
    poisons = any(router.unsolicited is Unsolicited.POISONS for router in stack)
    keeps_ports = not worst and all(router.port_allocation is PortAllocation.PRESERVING for router in nats)
    return _Side(mapping, filtering, ports, poisons, keeps_ports)


def _choice(router: NatBehaviour, how: Technique) -> int:
    """Return among how many ports the next mapping's is drawn, as an outsider sees it."""
    if router.port_allocation is PortAllocation.SEQUENTIAL:
        return 1 if how in (Technique.PORT_PREDICTION, Technique.BIRTHDAY) else SEQUENCE_LENGTH // abs(router.port_step)
    if router.port_allocation is PortAllocation.BLOCK:
        return router.port_block_size
    return PORT_COUNT


def _is_eim(side: _Side) -> bool:
    return side.mapping in (Mapping.NONE, Mapping.EIM)


def _gets_in(sender: _Side, receiver: _Side) -> bool:
    """Tell whether the sender's packet to the receiver's server-reflexive address passes the receiver's filter."""
    match receiver.filtering:
        case Filtering.NONE | Filtering.EIF:
            return True
        case Filtering.ADF:
            return _is_eim(receiver)
        case _:
            return _is_eim(receiver) and _is_eim(sender)


def _answer_is_lost(sender: _Side, receiver: _Side) -> bool:
    """Tell whether the receiver's answer may leave by another mapping than the sender's packet came in by, and be
    filtered.

    The receiver has by then sent to the sender itself, which made a mapping of its own unless it is EIM; the answer
    uses that one if the sender's address is the one that was sent to, that is, if the sender is EIM.
    """
    return not _is_eim(receiver) and _is_eim(sender) and sender.filtering is Filtering.APDF


# Whoever calls tries the relay as well. Where only the other side's packets get in, the relay is there first.
_RELAY_WINS = Expectation(
    "either",
    0.5,
    "direct if the side whose packets get in is the one that calls; else the relay is faster, and is kept",
    "1/2 where either may call",
)

# What comes in first binds the session to the mapping that the server saw; what goes out first makes another one.
_FIRST_IN = Expectation(
    "either",
    0.5,
    "direct if the EIM side's first packet comes in before the other side's first goes out",
    "P(t_in < t_out), 1/2 where both begin alike",
)


def _punch(a: _Side, b: _Side, how: Technique, birthday: tuple[int, int] | None) -> Expectation:
    if how is Technique.PLAIN:
        if _is_eim(a) and _is_eim(b):
            return _poisoned(a, b, how) or Expectation("direct", 1.0, "both mappings are the ones that the server saw")
        ways = ((a, b), (b, a))
        if any(_is_eim(one) and not _is_eim(two) and two.filtering is Filtering.EIF for one, two in ways):
            return _FIRST_IN
        return Expectation("relayed", 0.0, "a mapping towards the peer is not the one that the server saw")
    open_ways = [pair for pair in ((a, b), (b, a)) if _gets_in(*pair)]
    if how is Technique.SAME_PORT:
        open_ways = [(sender, receiver) for sender, receiver in open_ways if receiver.keeps_ports]
    if open_ways:
        decided_by_time = _FIRST_IN if all(_answer_is_lost(*pair) for pair in open_ways) else None
        if how is Technique.FIRST_PATH and len(open_ways) == 1:
            decided_by_time = _RELAY_WINS
        return (
            decided_by_time
            or _poisoned(a, b, how)
            or Expectation("direct", 1.0, "a packet gets in on one side, and the answer follows it back")
        )
    return _luck(a, b, how, birthday)


def _poisoned(a: _Side, b: _Side, how: Technique) -> Expectation | None:
    """Judge a router that lets early packets take the port away from its own side's flow (`Unsolicited.POISONS`)."""
    for victim, other in ((a, b), (b, a)):
        if victim.poisons and (how is Technique.PLAIN or other.filtering is Filtering.APDF):
            return Expectation(
                "either",
                0.5,
                "direct if the poisoning router's own side sends before the other side's first packet arrives",
                "P(t_out < t_in), 1/2 where both begin alike",
            )
    return None


def _luck(a: _Side, b: _Side, how: Technique, birthday: tuple[int, int] | None) -> Expectation:
    """Return the odds where neither lets the other in: a port must be guessed.

    Prediction: a sequence is known up to other flows, so without any the next port is certain. Birthday: one side opens
    m mappings, the other sends to k of N ports; none coincides with probability (1 - m/N)^k or so, exactly
    C(N-m, k)/C(N, k). The tries must leave by the one port at which the openings aim; a side with APDM has another port
    for each try, so of its k tries one counts (k = 1), however well its sequence is known. With two unknown mappings
    both ports must match: each of the m x k pairs hits with 1/(N M). A trying side whose router poisons does worse than
    the formula: the openings' own packets take the ports away.
    """
    guessable = a.ports == 1 and b.ports == 1
    if how in (Technique.PORT_PREDICTION, Technique.BIRTHDAY) and guessable:
        return Expectation("direct", 1.0, "every unknown port is the next of a sequence", "P(no other flow takes it)")
    if how is not Technique.BIRTHDAY:
        return Expectation("relayed", 0.0, "neither side's filter passes the other, whose port it cannot know")
    if birthday is None:
        return Expectation("relayed", 0.0, "both mappings depend on the destination, and no port is guessed then")
    tried_ports, opened_ports = birthday
    n, m = max(a.ports, b.ports), min(a.ports, b.ports)
    if m == 1:
        trying = a if a.ports == 1 else b
        tries = 1 if trying.mapping is Mapping.APDM else tried_ports
        p = 1.0 - no_coincidence(n, opened_ports, tries)
        formula = f"1 - C({n}-{opened_ports}, {tries}) / C({n}, {tries})"
    else:
        p = -math.expm1(opened_ports * tried_ports * math.log1p(-1.0 / (n * m)))
        formula = f"1 - (1 - 1/({n} x {m}))^({opened_ports} x {tried_ports})"
    return Expectation("either", p, "a guessed port must be one that is open", formula)


def no_coincidence(ports: int, opened: int, tried: int) -> float:
    """Return the probability that `tried` different ports of `ports` hold none of `opened` ones: C(N-m, k)/C(N, k)."""
    if opened + tried > ports:
        return 0.0
    return math.exp(
        math.lgamma(ports - opened + 1)
        + math.lgamma(ports - tried + 1)
        - math.lgamma(ports - opened - tried + 1)
        - math.lgamma(ports + 1)
    )
