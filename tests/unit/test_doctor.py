"""What the doctor says on a machine that has none of the programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.commands.doctor import doctor_command
from harness.machine import doctor
from harness.machine.requirements import MEASURING_TOOLS
from harness.overlay.registry import load_overlay, overlay_names


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No program in PATH or next to it, no Python package that is an overlay; sandboxes work."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("harness.overlay.search_path._ADMIN_PATHS", ())
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    monkeypatch.setattr(doctor, "why_no_user_namespaces", lambda: None)
    monkeypatch.setattr(doctor, "_run_in_sandbox", lambda _: ("", "{}"))


@pytest.mark.usefixtures("bare")
def test_every_program_is_named_with_the_command_that_gets_it() -> None:
    findings = {finding.what: finding for finding in doctor.examine()}
    for program, package in MEASURING_TOOLS.items():
        finding = findings[f"program {program}"]
        assert (finding.ok, finding.remedy) == (False, f"apt-get install -y {package}")
    for name in overlay_names():
        programs = [one.program for one in load_overlay(name).requirements() if "/" not in one.program]
        finding = findings[f"overlay {name}"]
        assert finding.ok == (not programs)
        assert all(program in finding.detail for program in programs)
        assert finding.ok or "install" in finding.remedy or "PATH" in finding.remedy


@pytest.mark.usefixtures("bare")
def test_what_needs_nft_is_not_blamed_on_the_kernel() -> None:
    for finding in doctor.examine():
        if finding.what.startswith("nftables"):
            assert (finding.ok, finding.remedy) == (False, "apt-get install -y nftables")


@pytest.mark.usefixtures("bare")
def test_the_command_ends_with_3() -> None:
    done = CliRunner().invoke(doctor_command)
    assert done.exit_code == 3
    assert "MISSING program nft" in done.output
    assert "put its vendor's zerotier-one into PATH" in done.output


@pytest.mark.usefixtures("bare")
def test_overlays_alone_are_no_reason_to_fail(tmp_path: Path) -> None:
    for program in MEASURING_TOOLS:
        (tmp_path / program).write_text("")
        (tmp_path / program).chmod(0o755)
    needed = [finding for finding in doctor.examine() if finding.needed and not finding.ok]
    assert not [finding for finding in needed if "tun" not in finding.what]


@pytest.mark.usefixtures("bare")
def test_the_findings_can_be_had_as_json() -> None:
    done = CliRunner().invoke(doctor_command, ["--json"])
    assert done.exit_code == 3
    assert {"what": "program ip", "ok": False} in [
        {key: finding[key] for key in ("what", "ok")} for finding in json.loads(done.output)["findings"]
    ]


@pytest.mark.usefixtures("bare")
def test_a_ruleset_that_nft_refuses_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nft").write_text("#!/bin/sh\necho nftables v9.9.9 \\(any\\)\n")
    (tmp_path / "nft").chmod(0o755)
    refused = json.dumps({"symmetric": "datatype mismatch"})
    monkeypatch.setattr(doctor, "_run_in_sandbox", lambda program: ("", refused if "acceptance" in program else ""))
    (finding,) = (one for one in doctor.examine() if one.what == "nftables rulesets")
    assert (finding.ok, finding.needed) == (False, True)
    assert finding.detail.startswith("nft 9.9.9 refuses 1 of ")
    assert finding.detail.endswith("the first symmetric: datatype mismatch")
