"""Kinds of hosts, found by entry point: this machine, and whatever a package adds (a cluster, a machine behind ssh)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from harness.errors import Problem, ScenarioError
from harness.hosts.contract import Host
from harness.model.extensions import extensions
from harness.overlay.contract import Overlay

GROUP = "overlaybench.hosts"


class HostKind(Protocol):
    """One kind of host.

    Attributes:
        name: as the entry point has it.
        order: which kind is asked first whether an address is one of its own.
        addresses: what addresses of this kind look like, for the user.
    """

    name: str
    order: int
    addresses: str

    def takes(self, address: str | None) -> bool:
        """Tell whether this is an address of this kind; None is no address, the machine on which the program runs."""

    def slots_said(self, address: str | None) -> str | None:
        """Return where it is said how many trials run side by side on its hosts; None: by `jobs`, as `open` gets it."""

    def open(self, address: str | None, *, label: str, jobs: int, overlays: Mapping[str, Overlay]) -> Host:
        """Make a host of it.

        Args:
            label: what its processes show on their command lines.
            jobs: how many trials may run side by side on one machine.
            overlays: those whose versions it is to report.

        Raises:
            MissingPrerequisite: nothing answers there, or this machine lacks what it takes to ask.
        """


def kind_of(address: str | None) -> HostKind:
    """Return the kind of host that an address names.

    Raises:
        ScenarioError: no kind takes it; names those that there are.
    """
    kinds: Mapping[str, HostKind] = extensions(GROUP)
    for kind in kinds.values():
        if kind.takes(address):
            return kind
    known = "; ".join(f"{kind.name}: {kind.addresses}" for kind in kinds.values())
    raise ScenarioError([Problem(str(address), 0, "--hosts", f"no kind of host has such addresses ({known})")])
