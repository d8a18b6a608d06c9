"""Trials that begin together share one fork server."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import pytest

from harness.hosts.workers import Workers


def test_trials_that_begin_together_start_one_fork_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second fork server would take the first one's socket, and its workers would die unheard."""
    far_ends: list[socket.socket] = []
    workers = Workers("test")

    async def start_nursery() -> None:
        await asyncio.sleep(0)  # as starting a process does, it lets the other trials run
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        monkeypatch.setattr(workers, "_socket", ours)
        far_ends.append(theirs)

    async def begin_together() -> None:
        folders = [tmp_path / str(number) for number in range(4)]
        for folder in folders:
            folder.mkdir()
        await asyncio.gather(*(workers.start(folder.name, folder) for folder in folders))

    monkeypatch.setattr(workers, "_start_fork_server", start_nursery)
    asyncio.run(begin_together())
    assert len(far_ends) == 1
    for end in far_ends:
        end.close()
