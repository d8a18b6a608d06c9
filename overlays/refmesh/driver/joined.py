"""Which invitations are used, and by whom: a server's memory on disk."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path

from overlays.refmesh import keys
from overlays.refmesh.driver.files import write_atomically
from overlays.refmesh.errors import MachineError

log = logging.getLogger("refmesh")


class JoinedFile:
    """The file `joined.json` of a state folder."""

    def __init__(self, folder: Path) -> None:
        """Read what is stored; MachineError when that cannot be."""
        self._path = folder / "joined.json"
        self.stored = _read(self._path)
        """The key that has used each invitation, by the invitation's serial."""

    def write(self, joined: Mapping[str, bytes]) -> bool:
        """Write the table to the disk itself, so that neither a crash nor a power cut loses it; False: it cannot be."""
        text = json.dumps({serial: keys.encode(key) for serial, key in joined.items()})
        try:
            write_atomically(self._path, text, durable=True)
        except OSError as error:
            log.error("%s: not written: %s", self._path, error.strerror)
            return False
        return True


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
