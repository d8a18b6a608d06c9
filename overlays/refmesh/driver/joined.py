"""Which invitations are used, and by whom: a server's memory on disk."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from overlays.refmesh import keys
from overlays.refmesh.driver.files import write_atomically
from overlays.refmesh.errors import MachineError

log = logging.getLogger("refmesh")
RETRY_S = 10.0


class JoinedFile:
    """The file `joined.json` of a state folder; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, joined: dict[str, bytes]) -> None:
        """Fills the table `joined` with what is stored; MachineError when that cannot be read."""
        self._path = folder / "joined.json" if folder else None
        self._joined = joined
        if self._path is not None:
            joined.update(_read(self._path))
        self._saved, self._due_s = len(joined), 0.0

    def look(self, now: float) -> None:
        """Writes the table down when it has grown; what fails is tried again."""
        if self._path is None or len(self._joined) == self._saved or now < self._due_s:
            return
        text = json.dumps({serial: keys.encode(key) for serial, key in self._joined.items()})
        try:
            write_atomically(self._path, text)
        except OSError as error:
            log.error("%s: not written, so a restart forgets which join keys are used: %s", self._path, error.strerror)
            self._due_s = now + RETRY_S
            return
        self._saved = len(self._joined)


def _read(path: Path) -> dict[str, bytes]:
    try:
        stored = json.loads(path.read_text())
        return {str(serial): keys.decode(key) for serial, key in stored.items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise MachineError(
            f"{path}: cannot be read ({error}); without it used join keys would work again: restore it, or delete it"
        ) from None
