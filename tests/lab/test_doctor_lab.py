"""The doctor against a real nft, and against one that refuses what another takes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.lab.running import OVERLAYBENCH

pytestmark = [pytest.mark.lab, pytest.mark.waits]

# Refuses what it does not know, as nft 1.1 did with a form that 1.0.6 took.
PICKY = """#!{python}
import os, sys
script = sys.stdin.read() if "-" in sys.argv else ""
if "numgen random" in script:
    sys.exit("/dev/stdin:1:1-2: Error: datatype mismatch, expected internet network service")
read, write = os.pipe()
if os.fork() == 0:
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        pipe.write(script)
    os._exit(0)
os.close(write)
os.dup2(read, 0)
os.execv("{nft}", sys.argv)
"""


def doctor(path: str) -> tuple[int, dict[str, dict[str, Any]]]:
    done = subprocess.run(
        [*OVERLAYBENCH, "doctor", "--json"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": path},
    )
    return done.returncode, {finding["what"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_the_doctor_has_nft_check_every_ruleset_and_discovers_a_router() -> None:
    status, findings = doctor(os.environ["PATH"])
    assert status == 0
    version = subprocess.run(["nft", "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    assert (
        findings["nftables rulesets"]["detail"]
        == f"nft {version.lstrip('v')} accepts the rulesets of all aliases and axes"
    )
    assert findings["NAT discovery"]["ok"]


def test_the_doctor_fails_when_nft_refuses_a_ruleset(tmp_path: Path) -> None:
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        if folder != Path("/tmp"):
            folder.chmod(0o755)
    nft = shutil.which("nft")
    picky = tmp_path / "nft"
    picky.write_text(PICKY.format(python="/usr/bin/python3", nft=nft))
    picky.chmod(0o755)
    status, findings = doctor(f"{tmp_path}:{os.environ['PATH']}")
    assert status == 3
    assert not findings["nftables rulesets"]["ok"]
    assert "the first full-cone: /dev/stdin" in findings["nftables rulesets"]["detail"]
    assert "NAT discovery" not in findings
