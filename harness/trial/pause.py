"""A trial that ended badly and is left standing, so that its user can look inside; `overlaybench enter` reads this.

While it waits, `paused.json` in its folder names the nodes' processes, and whoever writes a byte to the FIFO `go-on`
lets it end. The lab stays what it was: its daemons run, and it dies with the program that holds it.
"""

from __future__ import annotations

import json
import os
import select
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from harness.trial.messages import PAUSED, Step

RECORD: Final = "paused.json"
GO_ON: Final = "go-on"


class Pauses:
    """Leaves a trial standing after one of `outcomes`, once: what has gone on is not stopped again.

    `say` tells the user, `nodes` are the pids of the nodes' processes by name, none before there is a lab.
    """

    def __init__(
        self,
        outcomes: Collection[str],
        folder: Path,
        *,
        say: Callable[[Step], None],
        nodes: Callable[[], Mapping[str, int]],
    ) -> None:
        self._outcomes, self._folder, self._say, self._nodes = set(outcomes), folder, say, nodes

    def after(self, outcome: str, error: str | None) -> None:
        """Wait for the user where the outcome is one of those, and there is a lab to look into."""
        nodes = self._nodes()
        if outcome not in self._outcomes or not nodes:
            return
        self._outcomes.clear()
        told = Step(text=said(self._folder, error), waits=True)
        try:
            wait_for_user(self._folder, nodes, error, lambda: self._say(told))
        except OSError as failure:  # on a full disk, say: the trial's own end is still to be told
            self._say(Step(text=f"cannot pause: {failure}"))
            return
        self._say(Step(text="going on"))


def said(folder: Path, error: str | None) -> str:
    """Return what the user is told: why, and what can be done now."""
    reason = (error or "").strip().split("\n")[0][:160]
    enter = f"overlaybench enter {folder}"
    return f"{PAUSED}: {reason}; to look inside: {enter} NODE; to continue: {enter} --go-on"


def wait_for_user(folder: Path, nodes: Mapping[str, int], error: str | None, tell: Callable[[], None]) -> None:
    """Wait until somebody lets the trial go on, or the program that holds it is gone.

    Args:
        nodes: the pid of each node's process, in the sandbox.
        tell: called once the trial can be entered, and let go on.
    """
    record, fifo = folder / RECORD, folder / GO_ON
    os.mkfifo(fifo, 0o600)
    # For reading and writing: it is never at its end.
    waiting = os.open(fifo, os.O_RDWR | os.O_NONBLOCK)
    try:
        partial = folder / f"{RECORD}.new"
        partial.write_text(json.dumps({"error": error, "nodes": dict(nodes)}))
        partial.rename(record)
        tell()
        poller = select.poll()
        poller.register(waiting, select.POLLIN)
        poller.register(sys.stdin.fileno(), select.POLLHUP)
        poller.poll()
    finally:
        record.unlink(missing_ok=True)
        fifo.unlink(missing_ok=True)
        os.close(waiting)
