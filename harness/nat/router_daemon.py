"""A program that runs in a router for as long as the router works as declared."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from typing import Final

from harness.errors import LabError

_PATIENCE_S: Final = 5.0
_LOOK_S: Final = 0.01


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
        # In memory: a router has no folder of its own, and a pipe that nobody reads would stop the daemon.
        self._said = os.fdopen(os.memfd_create(name), "w+b")
        self._process = subprocess.Popen(
            [*enter, *argv], stdin=subprocess.DEVNULL, stdout=self._said, stderr=subprocess.STDOUT
        )

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait for what shows that it works.

        Raises:
            LabError: it ends, or is not ready after 5 s; it is stopped then.
        """
        deadline = time.monotonic() + _PATIENCE_S
        while not ready():
            if (ended := self.why_ended()) is not None or time.monotonic() > deadline:
                why = ended or f"{self.name} is not ready after {_PATIENCE_S:g} s: {self._last_words()}"
                self.stop()
                raise LabError(f"a router does not start: {why}")
            time.sleep(_LOOK_S)

    def why_ended(self) -> str | None:
        """Say how it ended and what it said last; None while it runs."""
        status = self._process.poll()
        if status is None:
            return None
        return f"{self.name} ended (exit status {status}): {self._last_words()}"

    def stop(self) -> None:
        """End it; safe to call twice."""
        if not self._said.closed:
            self._process.kill()
            self._process.wait()
            self._said.close()

    def said(self) -> str:
        """Return what it has printed so far."""
        size_bytes = os.fstat(self._said.fileno()).st_size
        # By position: the daemon writes through the same open file.
        return os.pread(self._said.fileno(), size_bytes, 0).decode(errors="replace")

    def _last_words(self) -> str:
        lines = self.said().strip().splitlines()
        return lines[-1] if lines else "it said nothing"
