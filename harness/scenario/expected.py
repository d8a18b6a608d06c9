"""What the NAT oracle expects of a trial, in the words of a path verdict. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import combinations, takewhile

from harness.model.family import Family
from harness.model.nat import NatBehaviour
from harness.model.nat_ipv6 import as_seen_in_ipv6
from harness.model.topology import Topology
from harness.model.trial import Trial
from harness.model.words import Verdict
from harness.nat.oracle import Expectation, expected_path
from harness.overlay.contract import Overlay, Traverses
from harness.overlay.support import underlays_of, why_unsupported

Pair = tuple[str, str]
# By IP version the behaviours of the routers in front of a member, nearest first.
Stacks = tuple[tuple[Family, tuple[NatBehaviour, ...]], ...]


def expected_verdicts(trial: Trial, overlay: Overlay) -> dict[Pair, tuple[Verdict, ...]]:
    """Return the verdicts that are right for each pair of members; several where chance or the overlay decides.

    Empty where the overlay does not say by which technique it traverses NATs, or cannot run at all: then nothing is
    expected of it.

    With both IP versions a path is direct where it is in either: an overlay that has both tries both (RFC 8421).
    """
    pairs = list(combinations(trial.topology.members, 2))
    if why_unsupported(trial, overlay) is not None:
        return {}
    if trial.mode == "underlay":
        return dict.fromkeys(pairs, ("direct",))
    if trial.mode in ("relay", "hub"):
        return dict.fromkeys(pairs, ("relayed",))
    technique = overlay.technique(trial.mode) if isinstance(overlay, Traverses) else None
    if technique is None:
        return {}
    stacks = {member: _stacks(trial.topology, member, underlays_of(overlay)) for member in trial.topology.members}
    fallback: Verdict = "none" if trial.mode == "direct" else "relayed"
    return {
        (a, b): _verdicts(_expected(stacks[a], stacks[b], technique, shared_layers(trial.topology, a, b)), fallback)
        for a, b in pairs
    }


def _verdicts(expected: Sequence[Expectation], fallback: Verdict) -> tuple[Verdict, ...]:
    """Return what may come of several ways that are all tried."""
    if any(one.verdict == "direct" for one in expected):
        return ("direct",)
    if any(one.verdict == "either" or one.probability > 0 for one in expected):
        return ("direct", fallback)
    return ("none",) if expected and all(one.verdict == "none" for one in expected) else (fallback,)


def _stacks(topology: Topology, member: str, families: Collection[Family]) -> Stacks:
    """Return the routers in front of a member as each IP version sees them, of those in which it gets out."""
    routers = topology.routers_of(member)
    found = [family for family in topology.families(member) if family in families]
    return tuple((family, tuple(_seen_in(family, topology, name) for name in routers)) for family in found)


@lru_cache(maxsize=4096)
def _expected(one: Stacks, other: Stacks, technique: str, shared: int) -> tuple[Expectation, ...]:
    """Return what must happen in each IP version that both have; of many members most are alike."""
    others = dict(other)
    return tuple(expected_path(stack, others[family], technique, shared) for family, stack in one if family in others)


def _seen_in(family: Family, topology: Topology, router: str) -> NatBehaviour:
    behaviour = topology.routers[router].nat
    seen = behaviour if family == "ipv4" else as_seen_in_ipv6(behaviour)
    assert seen is not None  # a family that both members have is carried by all their routers
    return seen


def shared_layers(topology: Topology, first: str, second: str) -> int:
    """Return how many of the outermost routers two hosts share: customers of one carrier share one."""
    pairs = zip(reversed(topology.routers_of(first)), reversed(topology.routers_of(second)), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
