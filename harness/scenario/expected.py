"""What the NAT oracle expects of a trial, in the words of a path verdict. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from itertools import combinations, takewhile

from harness.model.family import Family
from harness.model.nat import Egress, Filtering, Mapping, NatBehaviour, PortMappingProtocol
from harness.model.nat_ipv6 import as_peers_see_ipv6
from harness.model.topology import Topology
from harness.model.trial import Trial
from harness.model.words import Verdict
from harness.nat.oracle import ASKS_NOBODY, Expectation, Technique, expected_path
from harness.overlay.contract import Overlay, PromisesPaths, Traverses
from harness.overlay.support import asks_by, underlays_of, why_unsupported

Pair = tuple[str, str]
# By IP version the behaviours of the routers in front of a member, nearest first.
Stacks = tuple[tuple[Family, tuple[NatBehaviour, ...]], ...]


def expected_verdicts(trial: Trial, overlay: Overlay) -> dict[Pair, tuple[Verdict, ...]]:
    """Return the verdicts that are right for each pair of members; several where chance or the overlay decides.

    Empty where the overlay does not say by which technique it traverses NATs, or cannot run at all: then nothing is
    expected of it.

    Where a member's network lets no UDP out, what is right is what the overlay promises there.

    With both IP versions a path is direct where it is in either: an overlay that has both tries both (RFC 8421).
    """
    pairs = list(combinations(trial.topology.members, 2))
    if why_unsupported(trial, overlay) is not None:
        return {}
    if trial.mode == "underlay":
        return dict.fromkeys(pairs, ("direct",))
    egresses = {member: _egress(trial.topology, member) for member in trial.topology.members}
    held = {(a, b): least for a, b in pairs if (least := _strictest(egresses[a], egresses[b])) is not Egress.ANY}
    ordinary = _ordinary(trial, overlay, [pair for pair in pairs if pair not in held])
    if not held:
        return ordinary
    if not isinstance(overlay, PromisesPaths):
        return {}
    promised = {pair: _behind(trial, overlay, pair, egress) for pair, egress in held.items()}
    # Whoever does not get out may keep the whole overlay from being ready.
    return promised if ("none",) in promised.values() else {**ordinary, **promised}


def _ordinary(trial: Trial, overlay: Overlay, pairs: Sequence[Pair]) -> dict[Pair, tuple[Verdict, ...]]:
    """Return what is right for pairs whose networks let everything out."""
    if trial.mode in ("relay", "hub"):
        return dict.fromkeys(pairs, ("relayed",))
    technique = overlay.technique(trial.mode) if isinstance(overlay, Traverses) else None
    if technique is None:
        return {}
    stacks = {member: _stacks(trial.topology, member, underlays_of(overlay)) for member in trial.topology.members}
    fallback: Verdict = "none" if trial.mode == "direct" else "relayed"
    asked = asks_by(overlay, trial.options)

    def of(a: str, b: str) -> tuple[Verdict, ...]:
        through = _through_translator(trial.topology, a, b, technique, fallback)
        if through is not None:
            return through
        shared = shared_layers(trial.topology, a, b)
        # Whether a router has answered in time is not for the oracle to say.
        ways = (
            _verdicts(_expected(stacks[a], stacks[b], technique, shared, by), fallback)
            for by in dict.fromkeys((asked, ASKS_NOBODY))
        )
        return tuple(dict.fromkeys(verdict for way in ways for verdict in way))

    return {pair: of(*pair) for pair in pairs}


def _through_translator(
    topology: Topology, a: str, b: str, technique: str, fallback: Verdict
) -> tuple[Verdict, ...] | None:
    """Return what is right between a host with IPv6 alone behind a NAT64 and one that it knows by IPv4 alone.

    The former cannot write to an IPv4 address before it knows an IPv6 one for it, which nobody tells it: overlays do
    not look for the translator's prefix (RFC 7050). It can answer, to the source of what gets in. That is what any host
    sends to its mapping where the filter asks for nothing; else nothing gets in.

    None for a pair that is no such one.
    """
    if topology.common_families((a, b)):
        return None
    translators = [name for name in (topology.translator_of(a), topology.translator_of(b)) if name is not None]
    if not translators:
        return None
    nat = topology.routers[translators[0]].nat
    if nat.filtering is not Filtering.EIF or technique == Technique.PLAIN:
        return (fallback,)
    answers_by_it = nat.mapping is Mapping.EIM and technique not in (Technique.SAME_PORT, Technique.FIRST_PATH)
    return ("direct",) if answers_by_it else ("direct", fallback)


def _egress(topology: Topology, member: str) -> Egress:
    """Return what all routers in front of a member let out."""
    return _strictest(*(topology.routers[name].nat.egress for name in topology.routers_of(member)))


def _strictest(*egresses: Egress) -> Egress:
    return max(egresses, key=list(Egress).index, default=Egress.ANY)


def _behind(trial: Trial, overlay: PromisesPaths, pair: Pair, egress: Egress) -> tuple[Verdict, ...]:
    """Return what an overlay promises; two members of one LAN may do better once they know of each other."""
    promised = overlay.paths_behind(egress, trial)
    first, second = (trial.topology.routers_of(member) for member in pair)
    if trial.mode == "mesh" and first == second and "relayed" in promised:
        return tuple(dict.fromkeys(("direct", *promised)))
    return promised


def _verdicts(expected: Sequence[Expectation], fallback: Verdict) -> tuple[Verdict, ...]:
    """Return what may come of several ways that are all tried."""
    if any(one.path == "direct" for one in expected):
        return ("direct",)
    if any(one.path == "either" or one.probability > 0 for one in expected):
        return ("direct", fallback)
    return ("none",) if expected and all(one.path == "none" for one in expected) else (fallback,)


def _stacks(topology: Topology, member: str, families: Collection[Family]) -> Stacks:
    """Return the routers in front of a member as each IP version sees them, of those in which it gets out."""
    routers = topology.routers_of(member)
    found = [family for family in topology.families(member) if family in families]
    return tuple((family, tuple(_seen_in(family, topology, name) for name in routers)) for family in found)


@lru_cache(maxsize=4096)
def _expected(
    one: Stacks, other: Stacks, technique: str, shared: int, asked: frozenset[PortMappingProtocol]
) -> tuple[Expectation, ...]:
    """Return what must happen in each IP version that both have; of many members most are alike."""
    others = dict(other)
    return tuple(
        expected_path(stack, others[family], technique, shared, asks_by=asked)
        for family, stack in one
        if family in others
    )


def _seen_in(family: Family, topology: Topology, router: str) -> NatBehaviour:
    behaviour = topology.routers[router].nat
    seen = behaviour if family == "ipv4" else as_peers_see_ipv6(behaviour)
    assert seen is not None  # a family that both members have is carried by all their routers
    return seen


def shared_layers(topology: Topology, first: str, second: str) -> int:
    """Return how many of the outermost routers two hosts share: customers of one carrier share one."""
    pairs = zip(reversed(topology.routers_of(first)), reversed(topology.routers_of(second)), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
