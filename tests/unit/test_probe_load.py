"""The sender and the sink at both ends, on loopback."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from harness.probes import load_peer


@pytest.fixture
def server() -> Iterator[int]:
    """Run the tool's own server, as the probe starts it; give its port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    argv = [sys.executable, "-I", "-S", load_peer.__file__, "serve", "127.0.0.1", str(port)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "listening\n"
    yield port
    process.kill()
    process.wait()
    process.stdout.close()


@pytest.mark.parametrize("verb", ["fill", "drain"])
def test_a_load_is_counted_by_who_receives(server: int, verb: str) -> None:
    found = getattr(load_peer, verb)("127.0.0.1", server, 0.05, 0.2)
    assert 0.2 <= found["seconds"] < 1.0
    assert found["bytes"] > 1_000_000


def test_a_load_that_is_cut_off_is_no_figure() -> None:
    near, far = socket.socketpair()
    threading.Thread(target=lambda: (far.sendall(bytes(1000)), far.close()), daemon=True).start()
    with near, pytest.raises(ConnectionError, match="ended after 1000 bytes"):
        load_peer.received_in(near, 0.0, 10.0)
    with socket.create_server(("127.0.0.1", 0)) as deaf, pytest.raises(OSError):
        threading.Thread(target=lambda: [deaf.accept()[0].close()], daemon=True).start()
        load_peer.fill("127.0.0.1", deaf.getsockname()[1], 0.0, 0.1)
