"""A trial that ended for want of disk or descriptors is not blamed on its subject."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from harness.trial.exhaustion import exhausted


def test_there_is_room(tmp_path: Path) -> None:
    assert exhausted(tmp_path) is None
    assert exhausted(tmp_path, FileNotFoundError(errno.ENOENT, "no such file")) is None
    assert not list(tmp_path.iterdir())


def test_too_many_open_files_are_said_with_what_to_do(tmp_path: Path) -> None:
    said = exhausted(tmp_path, OSError(errno.EMFILE, "Too many open files", "/proc/1/ns/net"))
    assert said is not None and said.startswith(
        "/proc/1/ns/net: too many open files; raise the limit (`ulimit -n 4096`)"
    )


def test_a_disk_on_which_no_tool_can_work_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class AlmostFull:
        f_bavail, f_frsize = 100, 4096

    monkeypatch.setattr("os.statvfs", lambda _path: AlmostFull)
    assert str(exhausted(tmp_path)).startswith(f"{tmp_path}: no space left on device; make room")


def test_a_full_disk_is_found_whatever_a_tool_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_path: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert str(exhausted(tmp_path)).startswith(f"{tmp_path}: no space left on device; make room there")
