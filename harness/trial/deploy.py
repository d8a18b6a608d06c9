"""A deployment brought to life in a lab: files, preparation, daemons in their order, readiness."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path

from harness.errors import CommandFailed, CommandTimedOut, OverlayError
from harness.lab.addresses import accept_ipv6_later
from harness.lab.network import Lab
from harness.lab.process import Daemon, Usage
from harness.overlay.contract import ClaimSource, CommandSays, Deployment, InterfaceAddress, LogLine, Readiness, Service

_POLL_S = 0.02
_CLAIM_S = 2.0
_ANSWER_S = 10.0  # a client that asks its daemon and has no answer by then hangs
_JOIN_S = 20.0
_END_S = 5.0


class RunningOverlay:
    """An overlay at work on a lab. `stop` ends its daemons; so does the end of the sandbox."""

    def __init__(self, lab: Lab, deployment: Deployment, folder: Path) -> None:
        self.lab = lab
        self.deployment = deployment
        self.folder = folder
        self.daemons: dict[str, Daemon] = {}
        self.started_unix_s: dict[str, float] = {}
        self.time_to_ready_s = 0.0
        self.ready_unix_s = 0.0
        self._left_out: set[str] = set()
        self._joining: list[threading.Thread] = []
        self._restarting: dict[str, threading.Thread] = {}
        self._ending = False

    def node_folder(self, node: str) -> Path:
        """Return a node's own folder: its configuration, logs and working directory."""
        path = self.folder / "nodes" / node
        path.mkdir(parents=True, exist_ok=True)
        return path

    def prepare(self) -> None:
        """Write the files and run what comes before the daemons.

        Raises:
            OverlayError: a command failed.
        """
        self._write_files()
        for member, endpoint in self.deployment.endpoints.items():
            if endpoint.address.version == 6:
                accept_ipv6_later(self.lab.nodes[member])
        for command in self.deployment.prepare:
            self._run(command.node, command.argv, command.env, command.timeout_s)

    def start(self) -> None:
        """Write, prepare, start, and wait until all is ready; `time_to_ready_s` counts from the first daemon's start.

        Raises:
            OverlayError: something failed, died or did not get ready; carries the end of its log.
        """
        self.prepare()
        began = time.monotonic()
        self._bring_up([service for service in self.deployment.services if service.node not in self._left_out])
        self.time_to_ready_s = time.monotonic() - began
        self.ready_unix_s = time.time()
        self._set_up(lambda node: node not in self._left_out)

    def leave_out(self, node: str) -> None:
        """Deploy without what belongs on a node, until `join`."""
        self._left_out.add(node)

    def join(self, node: str) -> None:
        """Start what was left out, in its order, meanwhile. That it fails is a result; why is kept."""

        def bring_up() -> None:
            try:
                self._bring_up([service for service in self.deployment.services if service.node == node])
                self._set_up(lambda name: name == node)
            except OverlayError as failure:
                (self.node_folder(node) / "joining.log").write_text(f"{failure}\n")

        self._left_out.discard(node)
        self._joining.append(threading.Thread(target=bring_up, daemon=True))
        self._joining[-1].start()

    def _bring_up(self, services: Sequence[Service]) -> None:
        """Start services in waves: each once those that it comes after are ready, or are not among them."""
        pending = list(services)
        while pending:
            missing = {service.name for service in pending}
            wave = [service for service in pending if not set(service.after) & missing]
            if not wave:
                raise OverlayError(f"services wait for each other: {', '.join(service.name for service in pending)}")
            for service in wave:
                self._spawn(service)
            for service in wave:
                self._wait_ready(service)
                for argv in service.configure:
                    self._run(service.node, argv, service.env, service.deadline_s)
            pending = [service for service in pending if service not in wave]

    def _set_up(self, wanted: Callable[[str], bool]) -> None:
        for command in self.deployment.setup:
            if wanted(command.node):
                self._run(command.node, command.argv, command.env, command.timeout_s)

    def running_since(self) -> float:
        """Return the Unix time at which the last member's daemon was started; without daemons, that of readiness."""
        members = [
            self.started_unix_s[service.name]
            for service in self.deployment.services
            if service.node in self.deployment.members and service.name in self.started_unix_s
        ]
        return max(members, default=self.ready_unix_s)

    def check_alive(self, stopped: Collection[Daemon] = ()) -> None:
        """Raise when a daemon has died that was not stopped on purpose.

        Raises:
            OverlayError: with its status and the end of its log.
        """
        for name, daemon in self.daemons.items():
            if not daemon.alive and daemon not in stopped:
                raise OverlayError(f"{name} on {daemon.where} died with status {daemon.status}: {daemon.tail.strip()}")

    def usage(self) -> dict[str, Usage]:
        """Return what the daemons of each node have used so far; nodes whose daemons are all gone are left out."""
        nodes: dict[str, Usage] = {}
        for daemon in self.daemons.values():
            used = daemon.usage()
            if used is not None:
                sofar = nodes.get(daemon.where, Usage(0.0, 0.0))
                nodes[daemon.where] = Usage(sofar.cpu_s + used.cpu_s, sofar.rss_mib + used.rss_mib)
        return nodes

    def claims(self) -> dict[str, str]:
        """Return what the overlay says of itself, raw, by claim source; kept as evidence.

        Raises:
            OverlayError: a command that asks it hangs.
        """
        said: dict[str, str] = {}
        for source in self.deployment.claims:
            if source.node in self._left_out:
                continue
            output = self._ask(source) if source.argv else ""
            if source.service is not None:
                daemon = self.daemons[source.service]
                if source.until is not None:
                    daemon.wait_for_line(source.until, _CLAIM_S)
                output = daemon.text
            said[source.name] = output
        return said

    def _ask(self, source: ClaimSource) -> str:
        """Run a claim's command; its stderr is kept next to its answer."""
        folder = self.node_folder(source.node)
        with _overlays_hangs():
            done = self.lab.nodes[source.node].run(
                source.argv, timeout_s=_ANSWER_S, cwd=folder, env={**os.environ, **source.env}
            )
        (folder / f"claim-{source.name}.txt").write_text(done.stdout + done.stderr)
        return done.stdout

    def stop(self) -> None:
        """End all daemons, the last started first; whoever still joins or comes back comes no further."""
        self._ending = True
        for thread in self._joining:
            thread.join(_JOIN_S)
        for daemon in reversed(self.daemons.values()):
            daemon.stop()
        for thread in self._restarting.values():
            thread.join(_END_S)

    def _write_files(self) -> None:
        for file in self.deployment.files:
            path = self.node_folder(file.node) / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=file.mode)
            path.write_text(file.text)
            path.chmod(file.mode)

    def _run(self, node: str, argv: tuple[str, ...], env: Mapping[str, str], timeout_s: float) -> None:
        log = self.node_folder(node) / "prepare.log"
        command = Daemon(self.lab.nodes[node], argv, log=log, cwd=self.node_folder(node), env=env)
        status = command.wait(timeout_s)
        command.stop()
        if status != 0:
            failure = CommandFailed(argv, -1 if status is None else status, command.tail, node)
            raise OverlayError(f"{failure}{' (too slow)' if status is None else ''}")

    def restart(self, service: str) -> None:
        """Start a service again as at first, return when its daemon runs, and go on meanwhile.

        What it comes after, and is being started again, is waited for; once it is ready it is configured, or else a
        hub would be back without its addresses. That it fails is a result; why is kept in `restarting.log`.
        """
        again = next(one for one in self.deployment.services if one.name == service)
        before = [thread for name in again.after if (thread := self._restarting.get(name)) and thread.is_alive()]
        if not before:
            self._spawn(again)
        self._restarting[service] = threading.Thread(target=self._bring_back, args=(again, before), daemon=True)
        self._restarting[service].start()

    def _bring_back(self, service: Service, before: Sequence[threading.Thread]) -> None:
        for thread in before:
            thread.join()
        try:
            if before and not self._ending:
                self._spawn(service)
            self._wait_ready(service)
            for argv in service.configure:
                self._run(service.node, argv, service.env, service.deadline_s)
        except OverlayError as failure:
            with (self.node_folder(service.node) / "restarting.log").open("a") as log:
                log.write(f"{failure}\n")

    def _spawn(self, service: Service) -> None:
        folder = self.node_folder(service.node)
        node = self.lab.nodes[service.node]
        self.started_unix_s[service.name] = time.time()
        self.daemons[service.name] = Daemon(
            node, service.argv, log=folder / f"{service.name}.log", cwd=folder, env=service.env
        )

    def _wait_ready(self, service: Service) -> None:
        daemon = self.daemons[service.name]
        deadline = daemon.started_at + service.deadline_s
        for condition in service.ready:
            if not self._becomes(condition, daemon, service, deadline):
                how = (
                    f"died with status {daemon.status}"
                    if not daemon.alive
                    else f"not ready in {service.deadline_s:g} s"
                )
                raise OverlayError(
                    f"{service.name} on {service.node} {how}: {daemon.tail.strip() or '(it said nothing)'}"
                )

    def _becomes(self, condition: Readiness, daemon: Daemon, service: Service, deadline: float) -> bool:
        if isinstance(condition, LogLine):
            return daemon.wait_for_line(condition.pattern, deadline - time.monotonic())
        while daemon.alive and time.monotonic() < deadline:
            if self._holds(condition, service):
                return True
            daemon.wait(_POLL_S)  # wakes at once when the daemon dies
        return False

    def _holds(self, condition: InterfaceAddress | CommandSays, service: Service) -> bool:
        node = self.lab.nodes[service.node]
        if isinstance(condition, InterfaceAddress):
            return node.has_address(str(condition.address))
        with _overlays_hangs():
            return node.says(condition.argv, condition.pattern, self.node_folder(service.node), timeout_s=_ANSWER_S)


@contextlib.contextmanager
def _overlays_hangs() -> Iterator[None]:
    """Hold a command of the overlay's own that does not end against the overlay, not against us."""
    try:
        yield
    except CommandTimedOut as hanging:
        raise OverlayError(str(hanging)) from hanging
