"""What the events that befall some of an overlay's services have in common."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar

from pydantic import BeforeValidator

from harness.timeline.contract import Deployment, Event, EventSettings, RunningDaemons, Topology
from harness.timeline.daemons import as_tuple, daemons_on, host_names

if TYPE_CHECKING:
    from harness.lab.network import Lab
    from harness.lab.process import Daemon

_GONE_S = 5.0


class ServiceSettings(EventSettings):
    """All services of a deployment on a host, or with `service` those whose name is among these (`*`: anything)."""

    service: Annotated[tuple[str, ...], BeforeValidator(as_tuple, json_schema_input_type=str | tuple[str, ...])] = ()


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

    def unmet_by_all(self, deployments: Sequence[Deployment], subject: str, settings: Settings) -> list[str]:
        """See `services_of_none`."""
        return services_of_none(deployments, subject, settings)

    def contends(self, settings: Settings, other: Event[Any], others: EventSettings) -> bool:
        """Count whatever ends some of the same daemons: none can be started again twice."""
        del self
        if not isinstance(others, ServiceSettings) or not other.can_be_undone:
            return False
        both = (settings.service, others.service)
        return not all(both) or any("*" in one for named in both for one in named) or bool(set(both[0]) & set(both[1]))

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
    if not named or not deployment.services or any(fnmatchcase(name, one) for name in there for one in named):
        return []
    return [f"there is no service {' or '.join(named)} on {node} (there are {', '.join(there) or 'none'})"]


def services_of_none(deployments: Sequence[Deployment], node: str, settings: ServiceSettings) -> list[str]:
    """Name the services that no overlay of the scenario has: one mistyped beside others would do nothing."""
    there = sorted({service.name for one in deployments for service in one.services if service.node == node})
    lost = [word for word in settings.service if not any(fnmatchcase(name, word) for name in there)]
    if not lost or not there:
        return []
    return [f"no overlay here has a service {' or '.join(lost)} on {node} (there are {', '.join(there)})"]


def chosen(overlay: RunningDaemons, node: str, settings: ServiceSettings) -> list[tuple[str, Daemon]]:
    """Service and daemon of everything on a node that the settings mean."""
    named = settings.service or ("*",)
    return [(name, one) for name, one in daemons_on(overlay, node) if any(fnmatchcase(name, word) for word in named)]


def end(overlay: RunningDaemons, node: str, settings: ServiceSettings, number: signal.Signals) -> None:
    """Send daemons a signal that ends them, and wait until they are gone; who takes too long is killed."""
    ending = [daemon for _, daemon in chosen(overlay, node, settings)]
    for daemon in ending:
        daemon.send(number)
    for daemon in ending:
        if daemon.wait(_GONE_S) is None:
            daemon.send(signal.SIGKILL)
            daemon.wait(_GONE_S)
