"""One TCP connection a pair, asked all the time, which should survive what happens meanwhile: client and server."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from harness.errors import OverlayError
from harness.probes import held_peer, stream_peer
from harness.probes.answers import Asked
from harness.probes.continuityfigures import Held
from harness.probes.measurement import Target

if TYPE_CHECKING:
    from harness.lab.process import Daemon

PORT: Final = 7412
START_S: Final = 10.0
_LATE: Final = f"it was not open within {START_S:g} s, before the traffic began"
_SERVER = (sys.executable, "-I", "-S", str(Path(stream_peer.__file__).resolve()))
_CLIENT = (sys.executable, "-I", "-S", str(Path(held_peer.__file__).resolve()))


class HeldConnection:
    """The TCP connection of a pair that should survive; `server` answers it, None: what sends back all that comes.

    It is open before the traffic's time begins, and ends when it is told that the traffic is over, never by itself.
    """

    def __init__(self, target: Target, interval_s: float, server: Daemon | None) -> None:
        self.target = target
        self._interval_s = interval_s
        self._server = server
        self._late = True
        self.client: Daemon | None = None

    def begin(self) -> None:
        """Open it.

        Raises:
            OverlayError: nothing can listen at the other end.
        """
        stream = self.target.stream(PORT)
        if self._server is not None and not self._server.wait_for_line("listening", START_S):
            raise OverlayError(f"nothing can listen on {self.target.dst}: {self._server.tail.strip()}")
        words = [str(stream.connect_address), str(stream.connect_port), str(self._interval_s)]
        self.client = self.target.start(self.target.src, [*_CLIENT, *words], "continuity-tcp.json")

    def wait_until_open(self, timeout_s: float) -> None:
        """Wait until a request was answered over it; one that is later, in seconds, has not survived."""
        assert self.client is not None
        self._late = not self.client.wait_for_line("holding\n", timeout_s)

    def tell_end(self) -> None:
        """Tell its client that the traffic is over: it asks no more."""
        assert self.client is not None
        self.client.send(signal.SIGUSR1)

    def end(self) -> Held:
        """Wait for the client's end, which has been told, and read what became of the connection."""
        assert self.client is not None
        said = _said(self.client, held_peer.PATIENCE_S + START_S)
        asked, answered = said.get("asked", []), said.get("answered", [])
        answers = [*answered, *[None] * (len(asked) - len(answered))]
        questions = tuple(Asked(*moments) for moments in zip(asked, answers, strict=True))
        error = said.get("error", "its client said nothing")
        return Held(questions, error or (_LATE if self._late else None))


def servers_of(targets: Sequence[Target]) -> dict[str, Daemon]:
    """Start a server at each member that others connect to; over streams alone, what serves there sends back all."""
    servers: dict[str, Daemon] = {}
    for target in targets:
        if "interface" in target.kinds and target.dst not in servers:
            stream = target.stream(PORT)
            words = ["serve", str(stream.listen_address), str(stream.listen_port)]
            servers[target.dst] = target.start(target.dst, [*_SERVER, *words], "continuity-server.log")
    return servers


def _said(client: Daemon, patience_s: float) -> dict[str, Any]:
    """Read the JSON that ends what a client prints; empty where it printed none."""
    client.wait(patience_s)
    client.stop()
    lines = client.text.strip().splitlines()
    try:
        return dict(json.loads(lines[-1])) if lines else {}
    except ValueError:
        return {}
