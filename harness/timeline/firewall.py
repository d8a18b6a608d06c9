"""A network's operator lets less through: only some traffic, all but some, or nothing until one has signed in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BeforeValidator, Field, model_validator

from harness.nat import policies
from harness.timeline.contract import Event, EventSettings, RunningDaemons, Topology
from harness.timeline.layers import Layers
from harness.timeline.routers import router_names

if TYPE_CHECKING:
    from harness.lab.network import Lab


def _checked(value: Any) -> Any:
    words = (value,) if isinstance(value, str) else value
    if isinstance(words, list | tuple):
        for word in words:
            policies.parse_traffic(str(word))
    return words


Traffic = Annotated[
    tuple[str, ...], BeforeValidator(_checked, json_schema_input_type=str | tuple[str, ...]), Field(min_length=1)
]


class FirewallSettings(EventSettings):
    """A router lets through only what `allow` names, or everything but what `deny` names, or has a captive portal.

    Traffic is named `udp`, `tcp`, `icmp` or `all`, or with the ports outside: `tcp/443`, `udp/1000-2000`. Behind a
    captive portal names are resolved (port 53), the portal answers web pages (TCP 80 and 443), and everything else is
    dropped. The firewall also applies to flows that were already open. When it ends (`for_s`), it is taken away, as
    after signing in at a portal.
    """

    allow: Traffic | None = None
    deny: Traffic | None = None
    captive_portal: bool = False

    @model_validator(mode="after")
    def _one_of_three(self) -> FirewallSettings:
        if sum((self.allow is not None, self.deny is not None, self.captive_portal)) != 1:
            raise ValueError("give `allow`, `deny` or `captive_portal: true`, one of the three")
        return self


class Firewall(Event[FirewallSettings]):
    """Undone by the policy before it: the router's own rules alone, or an earlier one that nothing has taken away."""

    name = "firewall"
    settings = FirewallSettings
    replaces = True

    def __init__(self) -> None:
        self._layers: Layers[EventSettings | None] = Layers()

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Routers."""
        return router_names(topology)

    def perform(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: FirewallSettings) -> None:
        """Set the policy."""
        del overlay
        self._layers.put(lab, subject, settings, self._layers.top(lab, subject))
        _set_policy(lab, subject, settings)

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: FirewallSettings) -> None:
        """Take it away."""
        del overlay
        before = self._layers.take(lab, subject, settings)
        if before is not None:
            _set_policy(lab, subject, before.state)


def _set_policy(lab: Lab, subject: str, settings: EventSettings | None) -> None:
    router = lab.routers[subject]
    if not isinstance(settings, FirewallSettings):
        router.clear_policy()
        return
    if settings.captive_portal:
        router.set_policy(policies.captive_portal(router.ports), portal=True)
    elif settings.allow is not None:
        router.set_policy(policies.allow_only(router.ports, list(map(policies.parse_traffic, settings.allow))))
    else:
        router.set_policy(policies.deny(router.ports, list(map(policies.parse_traffic, settings.deny or ()))))
