"""A Unix socket is at its path only once it listens: who waits for the path may connect at once."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.hosts.station import listening_at
from overlays.refmesh.driver.status import StatusSocket


def of_refmesh(path: Path) -> socket.socket:
    return StatusSocket(path, lambda request: request).socket


@pytest.mark.parametrize("listening", [listening_at, of_refmesh])
def test_a_socket_is_seen_when_it_listens_and_by_its_owner_alone(
    listening: Callable[[Path], socket.socket], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, seen, listen = tmp_path / "s", [], socket.socket.listen

    def watched(self: socket.socket, *backlog: int) -> None:
        seen.append(path.exists())
        listen(self, *backlog)

    monkeypatch.setattr(socket.socket, "listen", watched)
    with listening(path):
        assert seen == [False]
        assert path.stat().st_mode & 0o777 == 0o600
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))
    with listening(path):  # what a killed one left is no hindrance
        assert [found.name for found in tmp_path.iterdir()] == ["s"]


def test_a_station_takes_nobodys_file(tmp_path: Path) -> None:
    path = tmp_path / "s"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="s'"):
        listening_at(path)
    assert path.read_text() == "mine"
