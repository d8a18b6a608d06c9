"""The status socket: whoever may open it gets the state as JSON, and is gone."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from overlays.refmesh.errors import MachineError

TIMEOUT_S = 5.0
TRIES = 4
END_S = 10.0


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    # A socket's path may have 107 bytes; through the open folder's descriptor any path is short.
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


class StatusSocket:
    """The listening side."""

    def __init__(self, path: Path, answer: Callable[[dict[str, Any]], Any]) -> None:
        """`answer` gets the request (`{}` for the whole status) and returns JSON-ready data."""
        self.path, self._answer = path, answer
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            early = path.with_name(f"{path.name}~")
            early.unlink(missing_ok=True)
            with _short(early) as name:
                self.socket.bind(name)
            early.chmod(0o600)
            self.socket.listen(4)
            early.rename(path)  # who sees it there may ask at once
        except OSError as error:
            raise MachineError(f"cannot make status socket {path}: {error.strerror}") from None
        self.socket.setblocking(False)

    def fileno(self) -> int:
        """For epoll."""
        return self.socket.fileno()

    def on_ready(self, _now: float) -> None:
        """Answers one client; one that is slow is not waited for."""
        with contextlib.suppress(OSError):
            client, _ = self.socket.accept()
            with client:
                client.settimeout(0.2)
                try:
                    request = json.loads(client.recv(4096) or b"{}")
                except (ValueError, RecursionError):
                    return
                client.sendall(json.dumps(self._answer(request if isinstance(request, dict) else {})).encode())

    def close(self) -> None:
        """Close the socket and remove its file."""
        self.socket.close()
        self.path.unlink(missing_ok=True)


def ask(path: Path, request: dict[str, Any]) -> Any:
    """Asks a running refmesh; MachineError when none answers there."""
    failure: Exception | None = None
    for _ in range(TRIES):
        try:
            return json.loads(_exchange(path, json.dumps(request).encode()))
        except FileNotFoundError as error:
            failure = error
            break
        except (OSError, ValueError) as error:
            # The daemon does not wait long for a client; on a busy machine we may have been too slow for it.
            failure = error
    raise MachineError(f"no refmesh answers at {path}: {failure}; is it running?")


def gone(path: Path) -> None:
    """Wait until a refmesh that was told to end has done so; MachineError when it takes too long."""
    until_s = time.monotonic() + END_S
    while path.exists():
        if time.monotonic() > until_s:
            raise MachineError(f"refmesh at {path} has not ended after {END_S:.0f} s")
        time.sleep(0.02)


def _exchange(path: Path, request: bytes) -> bytes:
    with _short(path) as name, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT_S)
        client.connect(name)
        client.sendall(request)
        data = b""
        while chunk := client.recv(65536):
            data += chunk
    return data
