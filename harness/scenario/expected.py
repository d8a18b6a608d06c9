"""What the NAT oracle expects of a trial, in the words of a path verdict. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from harness.model.family import Family
from harness.model.nat import NatBehaviour
from harness.model.nat_ipv6 import as_seen_in_ipv6
from harness.model.topology import Topology
from harness.model.trial import Trial
from harness.model.words import Verdict
from harness.nat.oracle import Expectation, expected_path
from harness.overlay.contract import Overlay, Traverses
from harness.overlay.support import underlays_of, why_unsupported


def expected_verdicts(trial: Trial, overlay: Overlay) -> tuple[Verdict, ...]:
    """Return the verdicts that are right for a trial; several where chance or the overlay's own choice decides.

    Judged for the first two members; the bundled topologies treat all pairs alike. Empty where the overlay does not
    say by which technique it traverses NATs, or cannot run at all: then nothing is expected of it.

    With both IP versions a path is direct where it is in either: an overlay that has both tries both (RFC 8421).
    """
    if why_unsupported(trial, overlay) is not None:
        return ()
    if trial.mode == "underlay":
        return ("direct",)
    if trial.mode in ("relay", "hub"):
        return ("relayed",)
    technique = overlay.technique(trial.mode) if isinstance(overlay, Traverses) else None
    if technique is None or len(trial.topology.members) < 2:
        return ()
    first, second = trial.topology.members[:2]
    families = [f for f in trial.topology.common_families((first, second)) if f in underlays_of(overlay)]
    expected = [_expected_in(family, trial.topology, first, second, technique) for family in families]
    return _verdicts(expected, "none" if trial.mode == "direct" else "relayed")


def _verdicts(expected: Sequence[Expectation], fallback: Verdict) -> tuple[Verdict, ...]:
    """Return what may come of several ways that are all tried."""
    if any(one.verdict == "direct" for one in expected):
        return ("direct",)
    if any(one.verdict == "either" or one.probability > 0 for one in expected):
        return ("direct", fallback)
    return ("none",) if expected and all(one.verdict == "none" for one in expected) else (fallback,)


def _expected_in(family: Family, topology: Topology, first: str, second: str, technique: str) -> Expectation:
    one, other = (
        [_seen_in(family, topology, name) for name in topology.routers_of(member)] for member in (first, second)
    )
    return expected_path(one, other, technique, shared_layers(topology, first, second))


def _seen_in(family: Family, topology: Topology, router: str) -> NatBehaviour:
    behaviour = topology.routers[router].nat
    seen = behaviour if family == "ipv4" else as_seen_in_ipv6(behaviour)
    assert seen is not None  # a family that both members have is carried by all their routers
    return seen


def shared_layers(topology: Topology, first: str, second: str) -> int:
    """Return how many of the outermost routers two hosts share: customers of one carrier share one."""
    pairs = zip(reversed(topology.routers_of(first)), reversed(topology.routers_of(second)), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
