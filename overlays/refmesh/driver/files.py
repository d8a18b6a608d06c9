"""Files that a crash must not leave half written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from overlays.refmesh.errors import ConfigError, MachineError


def write_atomically(path: Path, text: str, *, durable: bool = False) -> None:
    """Replace a file as a whole, so that a crash leaves the old one or the new one; if `durable`, a power cut too.

    It keeps its mode; a new one is its owner's alone. Raises OSError.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    mode = path.stat().st_mode & 0o777 if path.exists() else 0o600
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    temporary.replace(path)
    if durable:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_new(texts: Mapping[Path, str]) -> None:
    """Write files that are not there yet, readable by their owner alone, in the order given; all or none.

    Raises:
        ConfigError: one exists already. It may be the only copy of a key, so nothing is ever overwritten.
        MachineError: one cannot be written.
    """
    taken = [path for path in texts if path.exists() or path.is_symlink()]
    if taken:
        raise ConfigError([f"{path}:0: file: exists already, and is not overwritten" for path in taken[:1]])
    for path, text in texts.items():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                file.write(text)
        except OSError as error:
            raise MachineError(f"cannot write {path}: {error.strerror}") from None
