"""What the NAT oracle expects of a trial, in the words of a path verdict. Pure."""

from __future__ import annotations

from itertools import takewhile

from harness.model.scenario import Verdict
from harness.model.topology import Topology
from harness.model.trial import Trial
from harness.nat.oracle import expected_path
from harness.overlay.contract import Overlay, Traverses


def expected_verdicts(trial: Trial, overlay: Overlay) -> tuple[Verdict, ...]:
    """The verdicts that are right for a trial; several where chance or the overlay's own choice decides.

    Judged for the first two members; the bundled topologies treat all pairs alike. Empty where the overlay does not
    say by which technique it traverses NATs: then nothing is expected of it.
    """
    if trial.mode == "underlay":
        return ("direct",)
    if trial.mode in ("relay", "hub"):
        return ("relayed",)
    technique = overlay.technique(trial.mode) if isinstance(overlay, Traverses) else None
    if technique is None or len(trial.topology.members) < 2:
        return ()
    first, second = trial.topology.members[:2]
    stacks = [[trial.topology.routers[name].nat for name in trial.topology.routers_of(m)] for m in (first, second)]
    expected = expected_path(stacks[0], stacks[1], technique, shared_layers(trial.topology, first, second))
    fallback: Verdict = "none" if trial.mode == "direct" else "relayed"
    if expected.verdict == "none":
        return ("none",)
    if expected.verdict == "direct":
        return ("direct",)
    return (fallback,) if expected.verdict == "relayed" and expected.probability == 0 else ("direct", fallback)


def shared_layers(topology: Topology, first: str, second: str) -> int:
    """How many of the outermost routers two hosts share: customers of one carrier share one."""
    pairs = zip(reversed(topology.routers_of(first)), reversed(topology.routers_of(second)), strict=False)
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
