"""Programs that are not there, stand-ins for the compilers that build them, and asking for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from harness.overlay import install
from harness.overlay.contract import GoBuild, Requirement


def script(folder: Path, name: str, body: str) -> None:
    (folder / name).write_text(f"#!/bin/sh\n{body}\n")
    (folder / name).chmod(0o755)


def module(tmp_path: Path, text: str = "module m\n") -> GoBuild:
    folder = tmp_path / "module"
    folder.mkdir(exist_ok=True)
    (folder / "go.mod").write_text(text)
    (folder / "go.sum").write_text("")
    return GoBuild(module=str(folder), package="example.invalid/tool")


def tool(build: GoBuild) -> Requirement:
    return Requirement(program="tool", install="overlaybench install x", go=build)


def get(*requirements: Requirement, say: Callable[[str, str], None] = lambda _who, _line: None) -> None:
    """Install, and raise what went wrong first."""
    for error in install.install(requirements, say).values():
        raise error


# Stands for the compiler: writes what `-o` names, and says how often it was called.
GO = 'while [ $# -gt 1 ]; do [ "$1" = -o ] && out=$2; shift; done; echo "$1"; echo built >"$out"; echo >>"$0.calls"'


def two_modules(tmp_path: Path, memory_mib: int) -> list[Requirement]:
    made = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        for file in ("go.mod", "go.sum"):
            (folder / file).write_text("")
        build = GoBuild(module=str(folder), package=name, memory_mib=memory_mib)
        made.append(Requirement(program=name, install="overlaybench install x", go=build))
    return made
