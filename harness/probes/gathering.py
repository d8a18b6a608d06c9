"""Starts a party of the rounds tool on every member, lets all begin at once, and ends them; by their daemons alone."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final

from harness.errors import OverlayError
from harness.probes.measurement import Target
from harness.probes.readiness import why_not_ready
from harness.probes.roundlog import PartyLog, read_party

if TYPE_CHECKING:
    from harness.lab.process import Daemon

PORT: Final = 7413
PROGRAM: Final = Path(__file__).parent / "party" / "overlaybench-party"
BUILD: Final = "apt-get install -y gcc libc6-dev && rm -rf .venv/.setup-* && make setup"
CONNECT_S: Final = 30.0
_LOOK_S: Final = 0.05
_GRACE_S: Final = 3.0
_PIECE: Final = 1 << 16


def members_of(targets: Sequence[Target]) -> list[str]:
    """Return the members in the order in which pairs name them."""
    return list(dict.fromkeys(name for target in targets for name in target.pair))


def require_all_pairs(targets: Sequence[Target], probe: str) -> None:
    """Refuse a computation whose parties do not all reach each other.

    Raises:
        OverlayError: there is no endpoint for a pair.
    """
    names = members_of(targets)
    there = {target.pair for target in targets}
    for place, src in enumerate(names):
        for dst in names[place + 1 :]:
            if (src, dst) not in there:
                raise OverlayError(f"{probe}: no endpoint leads from {src} to {dst}, and every party needs every other")


def arguments_of(targets: Sequence[Target], party: str) -> list[str]:
    """Return where a party listens and whom it connects to, as words of the tool."""
    names = members_of(targets)
    streams = {target.pair: target.stream(PORT) for target in targets}
    listen = dict.fromkeys((one.listen_address, one.listen_port) for (_, dst), one in streams.items() if dst == party)
    words = [word for address, port in listen for word in ("listen", str(address), str(port))]
    for (src, dst), one in streams.items():
        if src == party:
            words += ["connect", str(names.index(dst)), str(one.connect_address), str(one.connect_port)]
    return words


class Gathering:
    """All parties of one computation, from their start to their end; to be used in a `with`."""

    def __init__(self, targets: Sequence[Target], name: str, *, payload_bytes: int, rounds: int) -> None:
        """Start them; `rounds` 0: until they are ended."""
        from harness.lab.process import Daemon  # noqa: PLC0415  # reports load this module, and no lab

        require_all_pairs(targets, name)
        self.names = members_of(targets)
        self._first = targets[0]
        self.evidence = self._file(f"{name}-rounds.csv")
        self._logs = {party: self._file(f"{name}-{party}.bin") for party in self.names}
        self.daemons: dict[str, Daemon] = {}
        for number, party in enumerate(self.names):
            head = [str(PROGRAM), str(number), str(len(self.names)), str(self._logs[party])]
            argv = [*head, str(payload_bytes), str(rounds), *arguments_of(targets, party)]
            node, log = self._first.lab.nodes[party], self._file(f"{name}-{party}.log")
            self.daemons[party] = Daemon(node, argv, log=log, cwd=self._first.folder, env={})

    def __enter__(self) -> Gathering:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for log in self._logs.values():
            log.unlink(missing_ok=True)

    def wait_until_connected(self) -> None:
        """Return once every party has a connection to every other.

        Raises:
            OverlayError: one has not after `CONNECT_S`, or has ended.
        """

        def late(party: str) -> str:
            said = f": {tail}" if (tail := self.daemons[party].tail.strip()) else ""
            return f"{party} has no connection to every other party after {CONNECT_S:g} s{said}"

        why_not = why_not_ready(self.daemons, "^connected", time.monotonic() + CONNECT_S, late)
        if why_not is not None:
            raise OverlayError(why_not)

    def begin(self) -> None:
        """Let all begin."""
        for daemon in self.daemons.values():
            daemon.send(signal.SIGUSR1)

    def wait(self, timeout_s: float) -> None:
        """Return when all have ended, when one is gone, without which none goes on, or when the time is over."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end and not self.broken:
            # Asked once a look: the last one may end between two questions.
            running = next((daemon for daemon in self.daemons.values() if daemon.alive), None)
            if running is None:
                return
            running.wait(_LOOK_S)

    @property
    def broken(self) -> bool:
        """Whether a party died, or lost a connection: there is no other one to come."""
        return any(daemon.status not in (None, 0) or "\nlost " in daemon.tail for daemon in self.daemons.values())

    def stop(self) -> None:
        """End all parties; they say what they were waiting for."""
        for daemon in self.daemons.values():
            daemon.send(signal.SIGTERM)
        for daemon in self.daemons.values():
            daemon.stop(_GRACE_S)

    def read(self) -> list[PartyLog]:
        """Return what the parties wrote down so far."""
        return [
            read_party(name, self.names, self.daemons[name].text, _written(self._logs[name])) for name in self.names
        ]

    def _file(self, name: str) -> Path:
        return self._first.folder / f"{self._first.label}-{name}"


def _written(log: Path) -> bytes:
    """Return the log as far as it was written: it is a file of holes, mostly a thousand times as long."""
    found = bytearray()
    if log.exists():
        with log.open("rb") as file:
            while (piece := file.read(_PIECE)) and any(piece):
                found += piece
    return bytes(found)
