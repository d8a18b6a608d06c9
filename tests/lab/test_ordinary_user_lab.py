"""Tests that become an ordinary user say so when a folder keeps that user out."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from harness.conformance.ordinary import first_closed
from tests.lab import running

pytestmark = [
    pytest.mark.lab,
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="the other tests are unprivileged then"),
]


@pytest.fixture
def open_path(tmp_path: Path) -> Path:
    """Return a folder below which others may look."""
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        if folder != Path("/tmp"):
            folder.chmod(0o755)
    return tmp_path


def test_the_folder_that_keeps_others_out_is_found(open_path: Path) -> None:
    (open_path / "home" / "checkout").mkdir(parents=True)
    assert first_closed([Path("/usr"), open_path / "home" / "checkout"]) is None
    (open_path / "home").chmod(0o700)
    assert first_closed([Path("/usr"), open_path / "home" / "checkout"]) == open_path / "home"


def test_a_checkout_that_others_may_not_enter_is_named_with_the_remedy(
    open_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "closed_to_nobody", lambda: open_path)
    with pytest.warns(UserWarning, match=f"may not enter {open_path}.*chmod o\\+x {open_path}"):
        prefix = running.without_privileges()
    # An ordinary user can have namespaces of its own; root without any capability cannot, since Linux 5.12.
    done = subprocess.run([*prefix, "unshare", "--user", "--map-root-user", "--net", "true"], check=False)
    assert done.returncode == 0
    dropped = subprocess.run([*prefix, "unshare", "--net", "true"], capture_output=True, check=False)
    assert dropped.returncode != 0
    assert running.unprivileged_uid() == 0
