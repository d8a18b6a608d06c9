"""A router that begins to behave differently, as after an update or a change of settings; its mappings are gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator

from harness.model.nat import NatBehaviour, parse_nat
from harness.timeline.contract import Event, EventSettings, RunningDaemons, Topology
from harness.timeline.layers import Layers
from harness.timeline.routers import router_names
from harness.topology.wiring import impossible_routers, router_behaviour

if TYPE_CHECKING:
    from harness.lab.network import Lab


class ChangeNatSettings(EventSettings):
    """A router's NAT changes its behaviour. All mappings and sessions are lost, now and when this is undone.

    A router that translates cannot become one that does not: nobody outside has a route to the hosts behind it.
    """

    nat: Annotated[NatBehaviour, BeforeValidator(parse_nat, json_schema_input_type=str | dict[str, Any])]


class ChangeNat(Event[ChangeNatSettings]):
    """A change of NAT behaviour, undone by behaving as before."""

    name = "change_nat"
    settings = ChangeNatSettings
    replaces = True

    def __init__(self) -> None:
        self._layers: Layers[NatBehaviour] = Layers()

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Return the routers."""
        return router_names(topology)

    def problems(self, topology: Topology, subject: str, settings: ChangeNatSettings) -> list[str]:
        """Return whether others lack what they need for the new behaviour, or the router too few addresses."""
        before = topology.routers[subject].nat
        if settings.nat.nptv6 != before.nptv6:
            return ["nptv6 stays as the topology has it: others know the way to that prefix alone"]
        if settings.nat.nat64 != before.nat64:
            return ["nat64 stays as the topology has it: hosts behind the router have the addresses for it or have not"]
        changed = _with_nat(topology, subject, settings.nat)
        router = topology.routers[subject]
        if _shows_ipv4(settings.nat) and not _shows_ipv4(before) and any(one.ipv4 for one in router.inside):
            return [f"{subject} would not translate: others have no routes to the IPv4 networks behind it"]
        return [reason for name, reason in impossible_routers(changed) if name == subject]

    def applied(self, topology: Topology, subject: str, settings: ChangeNatSettings) -> Topology:
        """Describe the router with its new behaviour."""
        return _with_nat(topology, subject, settings.nat)

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: ChangeNatSettings) -> None:
        """Load other rules."""
        del overlay
        self._layers.put(lab, subject, settings, lab.routers[subject].behaviour)
        lab.routers[subject].change_behaviour(router_behaviour(_with_nat(lab.topology, subject, settings.nat), subject))

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: ChangeNatSettings) -> None:
        """Load the former rules."""
        del overlay
        before = self._layers.take(lab, subject, settings)
        if before is not None:
            lab.routers[subject].change_behaviour(before.state)


def _shows_ipv4(nat: NatBehaviour) -> bool:
    """Tell whether those outside send to the IPv4 networks behind a router that behaves so."""
    return nat.ipv4 and not nat.translates


def _with_nat(topology: Topology, router: str, nat: NatBehaviour) -> Topology:
    changed = topology.routers[router].model_copy(update={"nat": nat})
    return topology.model_copy(update={"routers": {**topology.routers, router: changed}})
