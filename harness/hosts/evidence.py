"""A trial's folder as bytes, for the way from the host that ran it to the folder of the run."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Final

from harness.errors import LabError

# Names and paths that any file system takes.
_LONGEST_NAME: Final = 255
_LONGEST_PATH: Final = 1000


def pack(folder: Path) -> bytes:
    """Return what is in a folder as a tar (POSIX.1-2001): files and folders alone, owned by nobody in particular.

    It is not compressed: that would take processor time from the trials that still run.

    Raises:
        OSError: a file cannot be read.
    """
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(folder.rglob("*")):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                continue  # a daemon's socket, say
            entry = tarfile.TarInfo(path.relative_to(folder).as_posix())
            entry.mtime, entry.mode = int(path.stat().st_mtime), 0o755 if path.is_dir() else 0o644
            if path.is_dir():
                entry.type = tarfile.DIRTYPE
                tar.addfile(entry)
            else:
                content = path.read_bytes()
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def unpack(data: bytes, folder: Path) -> None:
    """Write what `pack` returned into a folder that is there.

    Raises:
        LabError: it is no such tar: a link, a device, a file with holes, a name that leads elsewhere or that stands for
            file and folder. Nothing is written then.
        OSError: the folder cannot be written.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            entries = [(entry, _content(tar, entry)) for entry in tar]
        _require_tree(entries)
    except (tarfile.TarError, ValueError) as error:
        raise LabError(f"the evidence that came from the host cannot be read: {error}") from None
    for entry, content in entries:
        path = folder / entry.name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _require_tree(entries: Sequence[tuple[tarfile.TarInfo, bytes | None]]) -> None:
    files, folders = set[PurePosixPath](), set[PurePosixPath]()
    for entry, content in entries:
        path = PurePosixPath(entry.name)
        (folders if content is None else files).add(path)
        folders |= set(path.parents)
    if both := files & folders:
        raise ValueError(f"{str(min(both))!r} is file and folder")


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes | None:
    """Return a file's content, None for a folder."""
    name = PurePosixPath(entry.name)
    if name.is_absolute() or ".." in name.parts or not name.parts or "\0" in entry.name:
        raise ValueError(f"{entry.name!r} leads out of the folder")
    encoded = [os.fsencode(part) for part in name.parts]
    if max(map(len, encoded)) > _LONGEST_NAME or len(b"/".join(encoded)) > _LONGEST_PATH:
        raise ValueError(f"{entry.name[:80]!r}... is too long a name")
    if entry.issparse():  # a few bytes may say that they are a terabyte
        raise ValueError(f"{entry.name!r} is a file with holes")
    if entry.isdir():
        return None
    file = tar.extractfile(entry) if entry.isreg() else None
    if file is None:
        raise ValueError(f"{entry.name!r} is neither file nor folder")
    return file.read()
