"""Several builds at once: as many as memory allows, and each fails alone."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from install_requests import GO, script, two_modules

from harness.errors import CommandFailed
from harness.overlay import install
from harness.overlay.budget import MemoryBudget
from harness.overlay.search_path import programs_folder

# Two of these end only when both run: each waits until it sees the other's mark.
MEETING = """\
while [ $# -gt 1 ]; do [ "$1" = -o ] && out=$2; shift; done
touch "$MEET/$1"
for _ in $(seq 200); do [ "$(ls "$MEET" | wc -l)" = 2 ] && { echo built >"$out"; exit 0; }; sleep 0.05; done
echo alone >&2; exit 1
"""


def test_modules_are_built_side_by_side(machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(machine, "go", MEETING)
    os.environ["PATH"] += ":/usr/bin:/bin"
    (tmp_path / "meet").mkdir()
    monkeypatch.setenv("MEET", str(tmp_path / "meet"))
    assert install.install(two_modules(tmp_path, 1), lambda _who, _line: None, at_once=2) == {}


def test_memory_decides_how_many_are_built_at_once() -> None:
    """What fits is let in; what would never fit waits for the others, and then has everything."""
    budget = MemoryBudget(1000)
    entered = threading.Event()

    def large() -> None:
        with budget.lend(5000):
            entered.set()

    with budget.lend(400):
        with budget.lend(600):
            waiting = threading.Thread(target=large)
            waiting.start()
            assert not entered.wait(0.05)
        assert not entered.wait(0.05)
    assert entered.wait(5)
    waiting.join()


def test_one_failure_does_not_keep_the_others_from_being_built(machine: Path, tmp_path: Path) -> None:
    script(machine, "go", GO.replace('echo "$1"', '[ "$1" = one ] && exit 1; echo "$1"'))
    os.environ["PATH"] += ":/usr/bin:/bin"
    failures = install.install(two_modules(tmp_path, 1), lambda _who, _line: None)
    assert list(failures) == ["one"]
    assert isinstance(failures["one"], CommandFailed)
    assert (programs_folder() / "two").exists()
