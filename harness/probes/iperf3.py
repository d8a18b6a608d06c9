"""iperf3 between two members of a lab: its server for as long as a probe needs it, its client, its JSON."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import OverlayError
from harness.probes.measurement import Target

if TYPE_CHECKING:
    from harness.lab.process import Daemon

PORT = 5201
# Beyond its own time: connecting, the omitted seconds' tail, the exchange of figures.
_SLACK_S = 15.0
_LISTENING_S = 5.0
# SYNs that are lost are sent again after 1, 3 and 7 s.
_CONNECT_MS = "10000"


@dataclass
class Server:
    """An iperf3 server, which serves one client after the other.

    Between two it closes its socket and opens another: who connects to the first one is reset.
    """

    node: str
    daemon: Daemon
    port: int = PORT
    _clients: int = 0

    @property
    def tail(self) -> str:
        """The end of what it said."""
        return self.daemon.tail.strip()

    def wait_until_listening(self) -> None:
        """Return once it takes the next client; to be called once before each.

        Raises:
            OverlayError: it did not start, or never came back from the last client.
        """
        self._clients += 1
        # Each repetition ends where the next begins, so that a log with one too few is not searched in all divisions.
        times = rf"(?s)(?:Server listening(?:(?!Server listening).)*){{{self._clients}}}"
        if not self.daemon.wait_for_line(times, _LISTENING_S):
            raise OverlayError(f"iperf3's server on {self.node} takes no client: {self.tail}")


@contextlib.contextmanager
def server_of(
    target: Target, name: str = "iperf3-server", port: int = PORT, arguments: Sequence[str] = ()
) -> Iterator[Server]:
    """Run an iperf3 server at `dst`, over an interface or a stream, for as long as the block lasts."""
    stream = target.stream(port)
    argv = ["iperf3", "-s", "-B", str(stream.listen_address), "-p", str(stream.listen_port), "--forceflush", *arguments]
    daemon = target.start(target.dst, argv, f"{name}.log")
    try:
        yield Server(target.dst, daemon, port)
    finally:
        daemon.stop()


def client_of(target: Target, server: Server, arguments: Sequence[str], evidence: str) -> Daemon:
    """Start a client at `src`; its output goes to the evidence of that name.

    Raises:
        OverlayError: the server takes none.
    """
    server.wait_until_listening()
    target.evidence(evidence).unlink(missing_ok=True)  # an attempt before this one's
    stream = target.stream(server.port)
    where = ["-c", str(stream.connect_address), "-p", str(stream.connect_port)]
    return target.start(target.src, ["iperf3", *where, "--connect-timeout", _CONNECT_MS, *arguments], evidence)


# What client and server say when their control connection did not stand, or broke; a lossy path does that.
_CONTROL_LOST = re.compile(
    r"control socket|control connection|client has terminated|server has terminated|unable to (send|receive|read|write)"
    r"|timed out|reset by peer|connection refused|takes no client|figures never came|nothing is sent",
    re.IGNORECASE,
)
_ATTEMPTS = 3

Result = TypeVar("Result")


def with_server(target: Target, attempt: Callable[[Server], Result], name: str = "iperf3-server") -> Result:
    """Return what `attempt` makes of a fresh server; retry, three times in all, where the control connection was lost.

    The figure has no part in it: a run that came to its end stands.

    Raises:
        OverlayError: it failed each time, or for another reason.
    """
    for attempts_left in reversed(range(_ATTEMPTS)):
        with server_of(target, name) as server:
            try:
                return attempt(server)
            except OverlayError as error:
                if not attempts_left or not is_control_lost(str(error)):
                    raise
    raise AssertionError("the last attempt returns or raises")


def is_control_lost(said: str) -> bool:
    """Tell whether iperf3 says that its control connection was lost. Pure."""
    return _CONTROL_LOST.search(said) is not None


def result_of(
    target: Target, server: Server, arguments: Sequence[str], seconds: float, evidence: str
) -> dict[str, Any]:
    """Run a client to its end and return its JSON; see `finish`."""
    return finish(target, server, client_of(target, server, ["-J", *arguments], evidence), seconds)


def finish(target: Target, server: Server, client: Daemon, seconds: float) -> dict[str, Any]:
    """Wait for a client's end and return its JSON.

    Args:
        seconds: how long it measures.

    Raises:
        OverlayError: it could not connect or was cut off.
    """
    status = client.wait(seconds + _SLACK_S)
    client.stop()
    what = f"iperf3 {target.src} to {target.dst}"
    try:
        result: dict[str, Any] = json.loads(client.text)
    except ValueError:
        raise OverlayError(f"{what}: {client.text.strip()[-500:] or server.tail}") from None
    if status != 0:
        raise OverlayError(f"{what}: {result.get('error') or server.tail}")
    return result
