"""The script that proves other releases, as far as it goes without making one."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "distros" / "run.sh"
CHECKOUT = SCRIPT.parents[2]


def run(tmp_path: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), **environment}
    return subprocess.run([SCRIPT, *arguments], capture_output=True, text=True, check=False, env=settings)


@pytest.mark.parametrize("name", ["", "../trixie", "Trixie"])
def test_a_name_that_no_release_can_have_is_the_user_s_mistake(tmp_path: Path, name: str) -> None:
    done = run(tmp_path, name)
    assert (done.returncode, "run.sh NAME" in done.stderr) == (2, True)
    assert list(tmp_path.iterdir()) == []


def test_a_release_that_cannot_be_had_is_skipped_by_name_with_the_reason(tmp_path: Path) -> None:
    """For want of root, or else of such a release."""
    done = run(tmp_path, "warty", "smoke", DISTROS_MIRROR=f"file:{tmp_path}/no-archive")
    assert done.returncode == 3
    assert "SKIPPED warty: " in done.stderr
    assert os.geteuid() == 0 or "needs root; run: sudo" in done.stderr


def test_a_cached_system_is_made_again_whenever_a_setup_would_be(tmp_path: Path) -> None:
    """Whatever a setup builds counts, the programs of probes too; run.sh has no list of its own."""
    assert "wanted=$(./setup.sh fingerprint)" in SCRIPT.read_text()
    sources = [*(CHECKOUT / "harness").rglob("*.[ch]")]
    assert len({source.parent for source in sources}) > 1
    for source in [CHECKOUT / name for name in ("setup.sh", "setup.py", "pyproject.toml", "constraints.txt")] + sources:
        copy = tmp_path / source.relative_to(CHECKOUT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, copy)

    def fingerprint() -> str:
        return subprocess.run([tmp_path / "setup.sh", "fingerprint"], capture_output=True, text=True, check=True).stdout

    seen = {fingerprint()}
    for source in sources:
        with (tmp_path / source.relative_to(CHECKOUT)).open("a") as file:
            file.write("\n")
        seen.add(fingerprint())
    assert len(seen) == 1 + len(sources)
    assert not (tmp_path / ".venv").exists()
