"""A server's memory on disk of who was there and where, so that it asks them for new keys after a restart."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from overlays.refmesh.driver.files import write_atomically
from overlays.refmesh.server.engine import Server
from overlays.refmesh.server.known import known, restore

log = logging.getLogger("refmesh")
SAVE_EVERY_S = 1.0


class MembersFile:
    """The file `known.json` of a state folder; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, server: Server, now: float) -> None:
        """Take what is stored."""
        self._server = server
        self._path = folder / "known.json" if folder else None
        self._saved, self._saved_s, self._failed = (-1, -1), now, False
        if self._path is None:
            return
        try:
            stored = json.loads(self._path.read_text())
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError) as error:
            log.warning("%s: not read: %s", self._path, error)
            return
        restore(server, stored, now)

    def look(self, now: float) -> None:
        """Write down what has changed, once a second."""
        if self._path is None or now - self._saved_s < SAVE_EVERY_S:
            return
        self._saved_s = now
        # Of a thousand members nothing is said, nor even looked at, while none has come, gone or moved.
        changes = self._server.registry.changes, self._server.herald.log.revision
        if changes == self._saved:
            return
        try:
            write_atomically(self._path, json.dumps(known(self._server)))
        except OSError as error:
            if not self._failed:
                log.warning("%s: not written, so nobody is asked back after a restart: %s", self._path, error.strerror)
            self._failed = True
            return
        self._saved, self._failed = changes, False
