"""Workers by the hundred: every one is heard to its end, whatever descriptors the others free meanwhile."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from harness.hosts.workers import Workers
from tests.lab.running import processes_naming

pytestmark = [pytest.mark.lab, pytest.mark.waits]


def test_every_worker_is_heard_to_its_end(tmp_path: Path) -> None:
    """Folders without a job: each worker gets as far as a sandbox, complains and ends."""

    async def one(workers: Workers, number: int) -> int:
        folder = tmp_path / f"w{number}"
        folder.mkdir()
        worker = await workers.start(folder.name, folder)
        assert await asyncio.wait_for(worker.line(), 60) == b""
        status = await asyncio.wait_for(worker.ended, 60)
        await worker.end()
        assert "job.json" in (folder / "worker.log").read_text()
        return status

    async def many() -> list[int]:
        workers = Workers(str(tmp_path))
        first = await one(workers, 0)
        rest = [await asyncio.gather(*(one(workers, batch * 12 + n + 1) for n in range(12))) for batch in range(8)]
        await workers.close()
        return [first, *(status for batch in rest for status in batch)]

    assert set(asyncio.run(many())) == {1}
    assert processes_naming(str(tmp_path)) == []


def test_a_worker_that_is_ended_early_is_gone(tmp_path: Path) -> None:
    async def go() -> int:
        workers = Workers(str(tmp_path))
        (tmp_path / "w").mkdir()
        worker = await workers.start("w", tmp_path / "w")
        await worker.end()
        await workers.close()
        return worker.ended.result()

    assert asyncio.run(go()) in (1, -9)
    assert processes_naming(str(tmp_path)) == []
