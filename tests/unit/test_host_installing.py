"""A station gets what overlays lack by the program's own command, and gives it up with its client."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from harness.errors import LabError
from harness.hosts import installing, serving
from harness.hosts.station_messages import Install


@pytest.mark.parametrize(
    ("program", "failed"),
    [
        ('test "$1" = underlay', ""),
        ("echo first >&2; echo it needs go >&2; exit 3", "it needs go"),
        ("exit 3", "status 3"),
        ("exec sleep 600", "it did not end within 0.01 s"),
    ],
)
def test_the_last_that_is_said_tells_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, failed: str
) -> None:
    monkeypatch.setattr(installing, "COMMAND", ("sh", "-c", program, "sh"))
    if "sleep" in program:
        monkeypatch.setattr(installing, "PATIENCE_S", 0.01)
    way: Any = object()

    async def go(*names: str) -> dict[str, Any]:
        station = serving.Station(way, way, label="x", jobs=1, silence_s=60.0, scratch=tmp_path)
        return await station._answer(Install(overlays=list(names)))

    assert asyncio.run(go("underlay")) == {"failed": failed}
    with pytest.raises(LabError, match="there is no overlay nobody on this host"):
        asyncio.run(go("nobody"))


def test_it_is_given_up_when_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "COMMAND", ("sleep", "600"))
    ended = threading.Event()
    ended.set()
    assert "did not end" in installing.install([], ended)["failed"]
