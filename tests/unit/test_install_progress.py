"""What `install` says of its progress where nobody looks at a terminal."""

from __future__ import annotations

import pytest

from harness.commands.building import shown_progress
from harness.overlay.install import BEGUN, READY


def test_a_log_has_one_line_for_each(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress() as say:
        say("apt-get", "apt-get update -qq")
        say("apt-get", "apt-get install -y openvpn")
        say("apt-get", "Unpacking openvpn")
        for program in ("lighthouse", "relay"):
            say(program, BEGUN)
        for number in range(500):
            say("lighthouse", f"package/{number}")
        say("lighthouse", READY)
        say("relay", "package/0")
    lines = capsys.readouterr().err.splitlines()
    assert lines == ["apt-get: apt-get update -qq", "lighthouse [   0 s] ready"]
