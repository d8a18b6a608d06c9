"""What would change the machine itself is refused before anything is mounted."""

from __future__ import annotations

import pytest

from harness.errors import LabError
from harness.sandbox import syscalls
from harness.sandbox.mounts import make_private


def test_outside_a_sandbox_nothing_is_mounted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syscalls, "mount", lambda *_arguments, **_named: pytest.fail("it mounts on this machine"))
    with pytest.raises(LabError, match="the machine's own"):
        make_private(None)
