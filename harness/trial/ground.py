"""A trial's lab with the instruments that stand around it: all by which the steps of a trial touch the kernel."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

from harness.lab import counters
from harness.lab.baseline import open_underlay
from harness.lab.names import serve_names, serve_synthesised_names
from harness.lab.network import Lab
from harness.lab.node_captures import NodeCaptures
from harness.lab.snapshot import snapshot
from harness.lab.tap import Tap
from harness.link.backend import RunningLinks
from harness.link.precedence import deprioritise_lab
from harness.model.trial import Trial
from harness.trial.checks import check_links, check_nats, require_daemons


class Ground(Protocol):
    """What a trial stands on. `LabGround` is the real one; tests of the steps have another."""

    @property
    def lab(self) -> Any:
        """Handed on to the targets."""

    @property
    def links(self) -> RunningLinks | None:
        """None where no link is impaired, and before they are started."""

    @property
    def link_backend(self) -> str:
        """Who carries the links."""

    @property
    def sysctls(self) -> dict[str, str]:
        """Those of the nodes, as read back."""

    def build(self) -> None:
        """Make nodes, routers and links that carry nothing yet. Raises LabError, MissingPrerequisite."""

    def check_nats(self) -> dict[str, str]:
        """Check the NATs: see `harness.trial.checks`. Raises LabNotAsDeclared."""

    def start_links(self) -> None:
        """Let frames flow. Raises LabError."""

    def watch(self) -> None:
        """Install the counters and keep what the kernel says of offloads and rules."""

    def check_links(self) -> None:
        """Check the links: see `harness.trial.checks`. Raises LabNotAsDeclared."""

    def require_daemons(self) -> None:
        """Refuse routers whose programs have ended: see `harness.trial.checks`. Raises LabNotAsDeclared."""

    def tap(self) -> Tap:
        """Begin to watch the members' ports; the caller closes it."""

    def captures(self) -> AbstractContextManager[None]:
        """Capture the nodes that the scenario asks for, meanwhile."""

    def open_underlay(self) -> AbstractContextManager[None]:
        """Open the baseline: see `harness.lab.baseline`."""

    def snapshot(self) -> str:
        """Return the present state of every node as text."""


class LabGround:
    """The lab of one trial in this sandbox; see `Ground`. Evidence goes to `folder`."""

    def __init__(self, trial: Trial, folder: Path) -> None:
        self.folder = folder
        self._captures = trial.captures
        self.lab: Lab = Lab(trial.topology, seed=trial.seed, link_choice=trial.links, workdir=folder)

    @property
    def links(self) -> RunningLinks | None:
        """See `Ground`."""
        return self.lab.links

    @property
    def link_backend(self) -> str:
        """See `Ground`."""
        return self.lab.link_backend

    @property
    def sysctls(self) -> dict[str, str]:
        """See `Ground`."""
        return self.lab.sysctls

    def build(self) -> None:
        """See `Ground`; the nodes know each other by name."""
        serve_names(self.lab.topology, self.folder)
        self.lab.build()
        serve_synthesised_names(self.lab.topology, self.lab.nodes, self.folder)

    def check_nats(self) -> dict[str, str]:
        """See `Ground`."""
        return check_nats(self.lab)

    def start_links(self) -> None:
        """Let frames flow; the links' carrier gets the processor before all else that runs in the lab."""
        self.lab.start_links()
        if self.lab.links is not None:
            deprioritise_lab(self.lab.links)

    def watch(self) -> None:
        """See `Ground`."""
        (self.folder / "offloads.json").write_text(json.dumps(self.lab.read_offloads(), indent=1))
        for name, router in self.lab.routers.items():
            (self.folder / f"{name}.nft").write_text(router.ruleset)
        counters.install(self.lab.watched_ports())

    def check_links(self) -> None:
        """See `Ground`."""
        check_links(self.lab)

    def require_daemons(self) -> None:
        """See `Ground`."""
        require_daemons(self.lab)

    def tap(self) -> Tap:
        """See `Ground`."""
        ports = sorted({self.lab.port_of(name) for name in self.lab.topology.members})
        return Tap(ports, self.folder / "members.pcapng", self.lab.beside)

    @contextlib.contextmanager
    def captures(self) -> Iterator[None]:
        """See `Ground`."""
        if self._captures is None:
            yield
            return
        with contextlib.closing(NodeCaptures(self.lab.nodes, self._captures, self.folder)):
            yield

    def open_underlay(self) -> AbstractContextManager[None]:
        """See `Ground`."""
        return open_underlay(self.lab)

    def snapshot(self) -> str:
        """See `Ground`."""
        return snapshot(self.lab)


@contextlib.contextmanager
def evidence_of_failure(take: Callable[[], str], evidence: Path, of: type[Exception]) -> Iterator[None]:
    """Keep what `take` says when the block fails, before anything is taken down; only the first time."""
    try:
        yield
    except of:
        if not evidence.exists():
            evidence.write_text(take())
        raise
