"""A node's memory on disk: who is known and where, so that it finds its peers again without any server."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from overlays.refmesh.core.known import known, restore
from overlays.refmesh.core.node import Node
from overlays.refmesh.driver.files import write_atomically

log = logging.getLogger("refmesh")
SAVE_EVERY_S = 5.0


class Memory:
    """The file `known.json` of a state folder; without a folder nothing is kept."""

    def __init__(self, node: Node, folder: Path | None, now: float) -> None:
        """Take what is stored."""
        self._node = node
        self._file = folder / "known.json" if folder else None
        self._saved, self._saved_s = "", now
        self._failed = False
        if self._file is None:
            return
        try:
            stored = json.loads(self._file.read_text())
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
            log.warning("%s: not read: %s", self._file, error)
            return
        restore(node, stored, now)

    def look(self, now: float) -> None:
        """Save when it is time."""
        if now - self._saved_s > SAVE_EVERY_S:
            self.save(now)

    def save(self, now: float) -> None:
        """Write down what has changed."""
        self._saved_s = now
        if self._file is None:
            return
        text = json.dumps(known(self._node))
        if text == self._saved:
            return
        try:
            write_atomically(self._file, text)
        except OSError as error:
            if not self._failed:
                log.error("%s: not written, so a restart needs a server: %s; tried again", self._file, error.strerror)
            self._failed = True
            return
        self._saved, self._failed = text, False
