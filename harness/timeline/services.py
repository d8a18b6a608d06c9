"""What the events that befall some of an overlay's services have in common."""

from __future__ import annotations

import signal
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Generic, TypeVar

from harness.timeline.contract import Deployment, Event, EventSettings, RunningDaemons, Topology
from harness.timeline.daemons import daemons_on, host_names

if TYPE_CHECKING:
    from harness.lab.network import Lab
    from harness.lab.process import Daemon

_GONE_S = 5.0


class ServiceSettings(EventSettings):
    """All services of a deployment on a host, or with `service` those whose name it is (`*` stands for anything)."""

    service: str | None = None


Settings = TypeVar("Settings", bound=ServiceSettings)


class ServiceEvent(Event[Settings], Generic[Settings]):
    """Something that happens to daemons; undone by starting them again."""

    settings: type[Settings]

    def subjects(self, topology: Topology) -> tuple[str, ...]:
        """Hosts."""
        return host_names(topology)

    def unmet(self, deployment: Deployment, subject: str, settings: Settings) -> list[str]:
        """See `missing_service`."""
        return missing_service(deployment, subject, settings)

    def undo(self, lab: Lab, overlay: RunningDaemons, subject: str, settings: Settings) -> None:
        """Start them again, in the order of the deployment."""
        del lab
        for name, daemon in chosen(overlay, subject, settings):
            if not daemon.alive:
                overlay.restart(name)


def missing_service(deployment: Deployment, node: str, settings: ServiceSettings) -> list[str]:
    """Say so where a service that is named is not there; an overlay that runs nothing at all lacks none."""
    there = [service.name for service in deployment.services if service.node == node]
    named = settings.service
    if named is None or not deployment.services or any(fnmatchcase(name, named) for name in there):
        return []
    return [f"there is no service {named} on {node} (there are {', '.join(there) or 'none'})"]


def chosen(overlay: RunningDaemons, node: str, settings: ServiceSettings) -> list[tuple[str, Daemon]]:
    """Service and daemon of everything on a node that the settings mean."""
    pattern = settings.service
    return [(name, one) for name, one in daemons_on(overlay, node) if pattern is None or fnmatchcase(name, pattern)]


def end(overlay: RunningDaemons, node: str, settings: ServiceSettings, number: signal.Signals) -> None:
    """Send daemons a signal that ends them, and wait until they are gone; who takes too long is killed."""
    ending = [daemon for _, daemon in chosen(overlay, node, settings)]
    for daemon in ending:
        daemon.send(number)
    for daemon in ending:
        if daemon.wait(_GONE_S) is None:
            daemon.send(signal.SIGKILL)
            daemon.wait(_GONE_S)
