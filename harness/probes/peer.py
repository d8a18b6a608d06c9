"""Our programs (`stream_peer`, `load_peer`) at the ends of a pair's stream: a server as long as needed, clients."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from harness.errors import OverlayError
from harness.probes.measurement import Stream, Target

if TYPE_CHECKING:
    from harness.lab.process import Daemon

_PYTHON = (sys.executable, "-I", "-S")
_START_S = 5.0


class Peer:
    """A program that knows `serve ADDRESS PORT` and some clients, over one pair's stream."""

    def __init__(self, module: ModuleType, target: Target, stream: Stream) -> None:
        self._argv = (*_PYTHON, str(Path(str(module.__file__)).resolve()))
        self._target, self._stream = target, stream

    @contextlib.contextmanager
    def serving(self) -> Iterator[Daemon]:
        """Run the server at `dst` until the block ends.

        Raises:
            OverlayError: it cannot listen there.
        """
        target, address = self._target, str(self._stream.listen_address)
        argv = [*self._argv, "serve", address, str(self._stream.listen_port)]
        server = target.start(target.dst, argv, "stream-server.log")
        try:
            if not server.wait_for_line("listening", _START_S):
                raise OverlayError(f"nothing can listen at {address} on {target.dst}: {server.tail.strip()}")
            yield server
        finally:
            server.stop()

    def client(self, what: str, arguments: Sequence[float], evidence: str) -> Daemon:
        """Start a client at `src`; what it prints is evidence of that name."""
        words = [what, str(self._stream.connect_address), str(self._stream.connect_port), *map(str, arguments)]
        return self._target.start(self._target.src, [*self._argv, *words], evidence)


def answer_of(client: Daemon, patience_s: float) -> dict[str, Any]:
    """Wait for a client's end; return what it printed, or `error`."""
    try:
        status = client.wait(patience_s)
    finally:
        client.stop()
    if status is None:
        return {"error": "it took too long"}
    try:
        return dict(json.loads(client.text))
    except ValueError:
        return {"error": client.tail.strip() or f"status {status}"}
