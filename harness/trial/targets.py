"""The pairs of members that a trial's probes are given, with the endpoints by which they reach each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from harness.model.baseline import baseline_topology
from harness.model.family import Address
from harness.model.topology import Topology
from harness.model.trial import Trial
from harness.overlay.contract import ContentEndpoint, Deployment
from harness.overlay.plain import plain_contents
from harness.probes.contract import Pair, Target


def targets_of(
    trial: Trial, deployment: Deployment, lab: Any, folder: Path, label: Literal["overlay", "underlay"]
) -> list[Target]:
    """Return every pair over the overlay's endpoints; over the underlay's, with every kind that its addresses carry."""
    members = trial.topology.members
    of_overlay = label == "overlay"
    contents = deployment.contents if of_overlay else _plain_contents(trial.topology)

    def target(pair: Pair) -> Target:
        source, destination = _addresses(trial.topology, deployment, pair, of_overlay)
        return Target(
            lab=lab,
            src=pair[0],
            dst=pair[1],
            src_address=source,
            dst_address=destination,
            streams={(one.src, one.dst): one for one in deployment.streams if of_overlay},
            contents={(one.src, one.dst): one for one in contents},
            mode=trial.mode,
            folder=folder,
            label=label,
            trial=trial.id,
        )

    return [target((src, dst)) for i, src in enumerate(members) for dst in members[i + 1 :]]


def _addresses(
    topology: Topology, deployment: Deployment, pair: Pair, of_overlay: bool
) -> tuple[Address | None, Address | None]:
    if of_overlay:
        ends = [deployment.endpoints.get(name) for name in pair]
        source, destination = (None if end is None else end.address for end in ends)
        return source, destination
    topology = baseline_topology(topology)
    family = topology.common_families(topology.members)[0]
    return topology.address_in(pair[0], family), topology.address_in(pair[1], family)


def _plain_contents(topology: Topology) -> tuple[ContentEndpoint, ...]:
    """Return the endpoints of HTTP without overlay, to which content is compared."""
    topology = baseline_topology(topology)
    family = topology.common_families(topology.members)[0]
    return plain_contents({name: topology.address_in(name, family) for name in topology.members})
