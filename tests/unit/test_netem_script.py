"""The script that runs the links' tests in a kernel with netem, as far as it goes without booting one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import grimp
import pytest

CHECKOUT = Path(__file__).parents[2]
SCRIPT = Path("tests/netem/boot.sh")
# What the guest's tests ask by name; that there is nothing else is looked at below.
ASKED = ("calibration.link_calibrate", "calibration.link_rig", "link.netem_backend", "link.choose", "sandbox.unshare")
# Words and errors: with others of them a test may read otherwise, and a link carries the same.
ELSEWHERE = {"harness.errors", "harness.model.words"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of what the script looks at."""
    copy = tmp_path_factory.mktemp("netem") / "checkout"
    for name in ("harness", "tests/netem", "tests/lab"):
        shutil.copytree(CHECKOUT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("constraints.txt", "setup.sh", "setup.py", "tests/conftest.py"):
        shutil.copy(CHECKOUT / name, copy / name)
    return copy


def asked(checkout: Path, word: str) -> subprocess.CompletedProcess[str]:
    # Without a PATH that has an emulator: it would be booted where the test is wrong.
    return subprocess.run(
        ["sh", SCRIPT, word], cwd=checkout, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}
    )


def test_the_guest_is_booted_again_whenever_what_it_tries_has_changed(checkout: Path) -> None:
    seen = {asked(checkout, "fingerprint").stdout}
    passed = checkout / "tests" / "netem" / "passed"
    passed.write_text(next(iter(seen)))
    done = asked(checkout, "--changed")
    assert (done.returncode, "as it was when it passed" in done.stderr) == (0, True)
    assert not (checkout / "build").exists()
    graph = grimp.build_graph("harness")
    modules = {f"harness.{name}" for name in ASKED}
    modules |= {one for name in list(modules) for one in graph.find_upstream_modules(name)}
    files = [f"{name.replace('.', '/')}.py" for name in sorted(modules - ELSEWHERE)]
    for file in (*files, "harness/link/userlink/delay.c", "tests/netem/guest/worker.py", "constraints.txt", "setup.sh"):
        with (checkout / file).open("a") as source:
            source.write("\n")
        seen.add(asked(checkout, "fingerprint").stdout)
    assert len(seen) == 1 + len(files) + 4


def test_the_guest_s_tests_name_no_other_part_of_the_harness() -> None:
    graph = grimp.build_graph("harness")
    modules = {f"harness.{name}" for name in ASKED}
    modules |= {one for name in list(modules) for one in graph.find_upstream_modules(name)}
    named = {
        line.split()[1]
        for file in (CHECKOUT / "tests" / "netem").rglob("*.py")
        for line in file.read_text().splitlines()
        if line.startswith("from harness")
    }
    assert named <= modules
