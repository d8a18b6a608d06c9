"""A program that runs in a router for as long as the router works as declared."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from harness.errors import LabError

_PATIENCE_S: Final = 20.0
_LOOK_S: Final = 0.01
# Of what it prints the end is kept, so that one that complains for as long as a campaign lasts fills no memory.
KEPT_BYTES: Final = 1 << 16
# What it had printed when it ended is in the pipe by then.
_LAST_WORDS_S: Final = 1.0


class RouterDaemon:
    """A process in a router's namespaces. It ends with `stop`, or by itself, which is a fault of the lab."""

    def __init__(
        self, pid: int, name: str, argv: Sequence[str], *, configuration: tuple[str, str] | None = None
    ) -> None:
        """Start the process.

        Args:
            pid: the process that holds the router's network and mount namespace, with a /run of its own.
            name: what the daemon is called in messages.
            configuration: a file that it reads, as path in the router and text.

        Raises:
            LabError: the router's namespaces cannot be entered, or the file cannot be written.
        """
        self.name = name
        enter = ["nsenter", "-t", str(pid), "-n", "-m", "--"]
        if configuration is not None:
            path, text = configuration
            done = subprocess.run([*enter, "tee", path], input=text.encode(), capture_output=True, check=False)
            if done.returncode:
                raise LabError(f"{path} of {name} cannot be written: {done.stderr.decode(errors='replace').strip()}")
        self._said = b""
        self._process = subprocess.Popen(
            [*enter, *argv], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        # In memory, because a router has no folder of its own; and always, because a full pipe would stop the daemon.
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:
            while chunk := os.read(pipe.fileno(), KEPT_BYTES):
                self._said = (self._said + chunk)[-KEPT_BYTES:]

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Stop it if the block, in which it is waited for and connected, fails: nobody else would know of it."""
        try:
            yield
        except BaseException:
            self.stop()
            raise

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait for what shows that it works.

        Raises:
            LabError: it ends, or is not ready after 20 s. It is stopped then, and also if `ready` raises something.
        """
        deadline = time.monotonic() + _PATIENCE_S
        with self.starting():
            while True:
                late = time.monotonic() > deadline  # before the look: ready in it is in time, however long it took
                if ready():
                    return
                if (ended := self.why_ended()) is not None or late:
                    why = ended or f"{self.name} is not ready after {_PATIENCE_S:g} s: {self._last_words()}"
                    raise LabError(f"a router does not start: {why}")
                time.sleep(_LOOK_S)

    def why_ended(self) -> str | None:
        """Say how it ended and what it said last; None while it runs."""
        status = self._process.poll()
        if status is None:
            return None
        self._listener.join(_LAST_WORDS_S)
        return f"{self.name} ended (exit status {status}): {self._last_words()}"

    def stop(self) -> None:
        """End it; safe to call twice."""
        self._process.kill()
        self._process.wait()
        self._listener.join(_LAST_WORDS_S)

    def said(self) -> str:
        """Return the end of what it has printed so far."""
        return self._said.decode(errors="replace")

    def _last_words(self) -> str:
        lines = self.said().strip().splitlines()
        return lines[-1] if lines else "it said nothing"
