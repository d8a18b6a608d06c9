"""A station gets what overlays lack, but nothing that needs root or takes long, and gives it up with its client."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from install_requests import GO, script, two_modules

from harness.errors import LabError, MissingPrerequisite
from harness.hosts import installing, serving
from harness.hosts.station_messages import Install
from harness.overlay import install as overlay_install
from harness.overlay.contract import Requirement
from harness.overlay.search_path import programs_folder


@dataclass
class Needs:
    """An overlay as far as an installation sees it."""

    programs: list[Requirement]

    def requirements(self) -> list[Requirement]:
        return self.programs


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def failures(*programs: Requirement) -> dict[str, str]:
    overlay: Any = Needs(list(programs))
    return installing.get_missing({"x": overlay})


@pytest.mark.parametrize(
    ("program", "failed"),
    [
        ('test "$1" = underlay && echo {}', {}),
        ("""echo '{"one": "no go", "two": "no disk"}'""", {"one": "no go", "two": "no disk"}),
        (
            "echo first >&2; echo no such module >&2; exit 1",
            {"underlay": "the installation ended with status 1 (no such module)"},
        ),
        ("exit 3", {"underlay": "the installation ended with status 3"}),
        ("exec sleep 600", {"underlay": "it did not end within 0.01 s"}),
    ],
)
def test_each_program_that_could_not_be_had_is_told_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str, failed: dict[str, str]
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


def test_the_command_itself_answers() -> None:
    assert installing.COMMAND[0] == sys.executable
    assert installing.install(["underlay"], threading.Event()) == {"failed": {}}


def test_stations_of_one_machine_install_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those in namespaces say, which stand for machines, and share its disk."""
    program = f"mkdir {tmp_path}/busy || exit 1; sleep 0.3; rmdir {tmp_path}/busy; echo {{}}"
    monkeypatch.setattr(installing, "COMMAND", ("sh", "-c", program, "sh"))
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(installing.install, ["x"], threading.Event()) for _ in range(3)]
    assert [one.result() for one in asked] == [{"failed": {}}] * 3


def test_source_builds_are_had_and_each_failure_is_told(machine: Path, tmp_path: Path) -> None:
    script(
        machine, "go", f'case "$*" in *two) i=0; while [ $((i+=1)) -lt 200 ]; do echo x$i; done; exit 1;; esac; {GO}'
    )
    os.environ["PATH"] += ":/usr/bin:/bin"
    failed = failures(*two_modules(tmp_path, 1))
    assert (programs_folder() / "one").exists() and list(failed) == ["two"]
    assert failed["two"].startswith("`go build ") and failed["two"].endswith(" x198 x199")
    assert len(failed["two"]) < 500 and "\n" not in failed["two"]


def test_nothing_is_installed_as_root_or_that_takes_long(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even what could be had: the host is refused anyway."""
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    for name in ("go", "apt-get"):
        script(machine, name, f"echo >>{tmp_path}/called")
    quick, long = two_modules(tmp_path, 1)
    packaged = Requirement(program="packaged", install="apt-get install -y p", debian="p")
    vendors = Requirement(program="no-such-program", install="ask its vendor")
    assert failures(quick, long.model_copy(update={"on_request": True}), packaged, vendors) == {
        "two": "its build takes long, so a run does not start it: overlaybench install x",
        "packaged": "a run installs no packages of the distribution: apt-get install -y p",
        "no-such-program": "ask its vendor",
    }
    assert not (tmp_path / "called").exists()


def test_what_lacks_its_compiler_keeps_all_from_being_built(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is known at once, and the host is refused anyway."""
    script(machine, "go", f"echo >>{tmp_path}/called")
    quick, other = two_modules(tmp_path, 1)
    no_cargo = MissingPrerequisite("Rust to build two", "get Rust")
    monkeypatch.setattr(overlay_install, "obstacle", lambda one: no_cargo if one.program == "two" else None)
    assert failures(quick, other) == {"two": "Rust to build two; to get it: get Rust"}
    overlays: Any = {"x": Needs([quick]), "y": Needs([quick, other])}
    assert installing.out_of_reach(overlays) == {"y": "two: Rust to build two; to get it: get Rust"}
    assert not (tmp_path / "called").exists()


def test_it_is_given_up_when_nobody_waits_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installing, "COMMAND", ("sleep",))
    ended = threading.Event()
    ended.set()
    assert installing.install(["600"], ended) == {"failed": {"600": "it did not end within 3600 s"}}
