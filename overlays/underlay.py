"""No overlay: the baseline that every campaign runs in the same session."""

from __future__ import annotations

from collections.abc import Sequence

from harness.model.baseline import baseline_topology
from harness.model.family import FAMILIES, Family
from harness.model.trial import Trial
from harness.model.words import Mode
from harness.overlay.contract import Deployment, EndpointKind, IpEndpoint, Layer, Requirement
from harness.overlay.plain import plain_contents
from overlays.addressing import check_options


class Underlay:
    """Plain IP between the members, with the routers' NATs and filters stood aside: what the network itself can do.

    Its interfaces carry streams as well, and content by HTTP, so that every layer has something to be compared to.
    """

    name = "underlay"
    modes: frozenset[Mode] = frozenset({"underlay"})
    layer: Layer = "L3"
    kinds: frozenset[EndpointKind] = frozenset({"interface", "content"})
    needs_server = False
    underlays: frozenset[Family] = frozenset(FAMILIES)

    def requirements(self) -> Sequence[Requirement]:
        """Nothing: the kernel is the baseline."""
        return ()

    def render(self, trial: Trial) -> Deployment:
        """Only endpoints: the members' own addresses, in IPv6 where they do not all have IPv4.

        Raises:
            ValueError: an option; the baseline takes none.
        """
        check_options(trial)
        topology = baseline_topology(trial.topology)
        family = topology.common_families(topology.members)[0]
        addresses = {name: topology.address_in(name, family) for name in topology.members}
        return Deployment(
            endpoints={name: IpEndpoint(address=address) for name, address in addresses.items()},
            contents=plain_contents(addresses),
            open_underlay=True,
        )
