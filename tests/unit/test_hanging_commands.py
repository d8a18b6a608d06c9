"""A command that never ends: the overlay's is held against the overlay, ours against us, late links before both."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from fake_lab import LATE_US, Ground, run_of

from harness.errors import CommandTimedOut, LabError, LabNotAsDeclared, OverlayError
from harness.lab import counters, partition, snapshot
from harness.lab.command import run_command
from harness.lab.node import LabNode
from harness.machine import describe, doctor
from harness.overlay.contract import ClaimSource, CommandSays, Deployment, Service
from harness.trial import deploy
from harness.trial.deploy import RunningOverlay

HANGS = ("sh", "-c", "echo asked the daemon; echo no answer >&2; exec sleep 60")
# Long enough for a shell to start and to say both lines on a busy machine.
PATIENCE_S = 4.0
SAID = rf"on a hangs: it did not end within {PATIENCE_S:g} s: asked the daemon\s+no answer"


class Lab:
    """A lab whose node is this machine."""

    def __init__(self) -> None:
        node = LabNode.__new__(LabNode)
        node.name, node.inNamespace = "a", False
        self.nodes = {"a": node}
        self.routers: dict[str, Any] = {}


def overlay_of(folder: Path, monkeypatch: pytest.MonkeyPatch, **deployed: Any) -> RunningOverlay:
    monkeypatch.setattr(deploy, "_ANSWER_S", PATIENCE_S)
    lab: Any = Lab()
    return RunningOverlay(lab, Deployment(**deployed), folder)


def test_our_own_command_is_a_lab_error_with_argv_time_and_what_it_said() -> None:
    with pytest.raises(LabError, match=f"`sh -c echo asked.*` {SAID}") as found:
        Lab().nodes["a"].check_output(HANGS, timeout_s=PATIENCE_S)
    assert not isinstance(found.value, OverlayError)


def test_a_client_that_is_asked_for_a_claim_and_hangs_is_the_overlays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = overlay_of(tmp_path, monkeypatch, claims=(ClaimSource(name="status", node="a", argv=HANGS),))
    with pytest.raises(OverlayError, match=SAID):
        overlay.claims()


def hanging_at_its_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> RunningOverlay:
    ready = (CommandSays(argv=HANGS, pattern="online"),)
    service = Service(name="daemon", node="a", argv=("sleep", "60"), ready=ready, deadline_s=20)
    return overlay_of(folder, monkeypatch, services=(service,))


def test_a_client_that_is_asked_whether_it_is_ready_and_hangs_is_the_overlays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = hanging_at_its_start(tmp_path, monkeypatch)
    try:
        with pytest.raises(OverlayError, match=SAID):
            overlay.start()
    finally:
        overlay.stop()


def test_late_links_come_before_an_overlay_that_hangs_and_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    overlay = hanging_at_its_start(tmp_path, monkeypatch)

    def start(ground: Ground) -> None:
        ground.slow_links.send(LATE_US)
        overlay.start()

    run, _ = run_of(tmp_path, [], start=start)
    try:
        with pytest.raises(LabNotAsDeclared, match=r"while the overlay was started; .*hangs: it did not end within"):
            run.run()
    finally:
        overlay.stop()
    assert (tmp_path / "links.json").exists()


def test_what_a_failure_looked_like_is_kept_although_a_command_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    def hang(_node: LabNode, argv: Any, **_options: Any) -> str:
        raise CommandTimedOut(argv, 20, "half of it", "a")

    monkeypatch.setattr(LabNode, "check_output", hang)
    lab: Any = Lab()
    assert "half of it" in snapshot.snapshot(lab)


@pytest.mark.parametrize("ask", [counters.read, lambda: partition.join("p1")])
def test_nft_that_hangs_is_a_lab_error(ask: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nft = tmp_path / "nft"
    nft.write_text("#!/bin/sh\nexec sleep 60\n")
    nft.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")

    def soon(argv: Any, **options: Any) -> Any:
        return run_command(argv, **{**options, "timeout_s": 0.3})

    for module in (counters, partition):
        monkeypatch.setattr(module, "run_command", soon)
    with pytest.raises(LabError, match=r"`nft .*` on the sandbox hangs"):
        ask()


def test_a_program_that_hangs_when_asked_for_its_version_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    run = describe.subprocess.run
    monkeypatch.setattr(describe.subprocess, "run", lambda argv, **options: run(argv, **{**options, "timeout": 0.3}))
    assert describe._version(HANGS, "(daemon)") is None


def test_doctor_says_that_a_sandbox_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_SANDBOX_S", 0.3)
    monkeypatch.setattr(doctor, "sandbox_argv", lambda _argv: [sys.executable, "-c", "import time; time.sleep(60)"])
    assert doctor._run_in_sandbox("") == ("it did not end within 0.3 s", "")
