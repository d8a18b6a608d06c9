"""Silence is an answer only of somebody who was asked."""

from __future__ import annotations

import pytest

from harness.errors import LabNotAsDeclared
from harness.probes.seek import require_asked


def test_a_machine_too_busy_to_ask_is_the_labs_fault_and_no_overlays() -> None:
    require_asked(("a", "b"), 120, 200.0)
    require_asked(("a", "b"), 0, 0.0)
    with pytest.raises(LabNotAsDeclared, match="a to b: nothing was answered, but only 1 of 200 pings"):
        require_asked(("a", "b"), 1, 200.0)
