"""Every program of an overlay has a version by which hosts are compared, not the first alone."""

from __future__ import annotations

import hashlib
import importlib.metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.hosts.local import LocalHost
from harness.machine.describe import other_versions, overlay_version
from harness.overlay.contract import Requirement
from harness.overlay.requirement import Wheel


def program(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def overlay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return one whose daemon, server, control program, key program and library differ in how they are known."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    program(tmp_path, "dpkg-query", 'case "$3" in keys) printf 1.0.2-2+b1;; *) echo none >&2; exit 1;; esac')
    daemon = program(tmp_path, "daemond", "echo daemon 1.2.3")
    server = program(tmp_path, "serverd", "echo server 0.26.1")
    (tmp_path / "plugin.so").write_bytes(b"code")
    wheel = Wheel(package="pytest", version="1.0")
    requirements = (
        Requirement(program="unsaid", install="make it"),
        Requirement(program="daemond", install="x", version_argv=(daemon, "--version")),
        Requirement(program="serverd", install="x", version_argv=(server, "--version")),
        Requirement(program="keys", install="x", debian="keys"),
        Requirement(program=str(tmp_path / "plugin.so"), install="x", debian="elsewhere"),
        Requirement(program="pytest", install="x", wheel=wheel),
    )
    return SimpleNamespace(requirements=lambda: requirements)


def test_programs_besides_the_first_are_known_by_what_tells_them(overlay: Any) -> None:
    assert overlay_version(overlay) == "1.2.3"
    assert other_versions([overlay]) == {
        "unsaid": None,
        "serverd": "0.26.1",
        "keys": "1.0.2-2+b1",
        "plugin.so": f"sha256:{hashlib.sha256(b'code').hexdigest()[:16]}",
        "pytest": importlib.metadata.version("pytest"),
    }


def test_a_host_tells_them_with_its_tools(overlay: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.hosts.local.tool_versions", lambda: {"nft": "1.0"})
    told = LocalHost(label="x", jobs=1, overlays={"mine": overlay}).describe()
    assert told.overlay_versions == {"mine": "1.2.3"}
    assert told.tool_versions["nft"] == "1.0" and told.tool_versions["serverd"] == "0.26.1"
