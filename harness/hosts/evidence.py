"""A trial's folder as bytes, for the way from the host that ran it to the folder of the run."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path, PurePosixPath

from harness.errors import LabError


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
        LabError: it is no such tar: a link, a device, a name that leads elsewhere. Nothing is written then.
        OSError: the folder cannot be written.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            entries = [(entry, _content(tar, entry)) for entry in tar]
    except (tarfile.TarError, ValueError) as error:
        raise LabError(f"the evidence that came from the host cannot be read: {error}") from None
    for entry, content in entries:
        path = folder / entry.name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def _content(tar: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes | None:
    """Return a file's content, None for a folder."""
    name = PurePosixPath(entry.name)
    if name.is_absolute() or ".." in name.parts or not name.parts or "\0" in entry.name:
        raise ValueError(f"{entry.name!r} leads out of the folder")
    if entry.isdir():
        return None
    file = tar.extractfile(entry) if entry.isreg() else None
    if file is None:
        raise ValueError(f"{entry.name!r} is neither file nor folder")
    return file.read()
