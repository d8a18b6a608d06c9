"""The helper process as seen from Python: starting it, its control socket, its death."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Final

from harness.errors import CommandFailed, LabError

PROGRAM: Final = Path(__file__).parent / "userlink" / "overlaybench-userlink"
# How long the helper wakes before a frame is due, at most, to be on time; it learns how much it needs.
SPIN_US: Final = 60
# Answers come at once; a helper that is silent for so long hangs.
ANSWER_S: Final = 10.0


def helper_argv() -> list[str] | None:
    """Return the compiled helper's argv, or None where the package was built without a compiler."""
    return [str(PROGRAM)] if os.access(PROGRAM, os.X_OK) else None


def python_helper_argv() -> list[str]:
    """Return the pure-Python helper's argv; it speaks the same protocol."""
    return [sys.executable, "-m", "harness.link.python_helper"]


class HelperProcess:
    """A helper inside the network namespace of a process; it dies with this process and with this object's `close`."""

    def __init__(self, argv: Sequence[str], *, netns_pid: int, log: Path) -> None:
        """Start `argv` in the namespace of `netns_pid`; its stderr goes to `log`. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        # The kernel ties the death signal to the thread that starts a process: only the main one lives long
        # enough. In any other thread the closed control socket alone ends the helper.
        parent = os.getpid() if threading.current_thread() is threading.main_thread() else 0
        enter = [] if netns_pid == os.getpid() else ["nsenter", "--target", str(netns_pid), "--net", "--"]
        serve = ["serve", str(theirs.fileno()), str(parent), str(SPIN_US)]
        self._argv = [*enter, *argv, *serve]
        self._log: IO[bytes] = log.open("wb")
        self._log_path = log
        self._socket = ours
        with theirs:
            self._process = subprocess.Popen(
                self._argv,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._log,
                # Where the kernel groups processes by session (autogroup), the helper's share is that of the whole lab.
                start_new_session=True,
            )
        self._socket.settimeout(ANSWER_S)

    @property
    def pid(self) -> int:
        """Process id of the helper."""
        return self._process.pid

    def ask(self, command: str) -> str:
        """Send a command and return what follows `ok`; LabError where the helper refuses or has died."""
        try:
            self._socket.send(command.encode())
            answer = self._socket.recv(65536).decode()
        except TimeoutError as error:
            raise LabError(f"the link helper did not answer `{command[:60]}` within {ANSWER_S:g} s") from error
        except OSError as error:
            raise self._death() from error
        if not answer:
            raise self._death()
        word, _, rest = answer.partition(" ")
        if word != "ok":
            raise LabError(f"the link helper refused `{command[:60]}`: {rest}")
        return rest

    def _death(self) -> CommandFailed:
        self._process.kill()
        status = self._process.wait()
        return CommandFailed(self._argv, status, self._log_path.read_text(errors="replace"))

    def close(self) -> None:
        """End the helper and wait for it; safe to call twice."""
        # A process forked from us may hold a copy of the socket; shutting it down ends them all.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def write_table(path: Path, values: Sequence[int]) -> None:
    """Write a table file for the helper: int64 in the machine's byte order."""
    path.write_bytes(array("q", values).tobytes())


def read_table(path: Path) -> tuple[int, ...]:
    """Read what `write_table` wrote."""
    values = array("q")
    values.frombytes(path.read_bytes())
    return tuple(values)
