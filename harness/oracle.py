"""What the NAT oracle expects of a trial, in the words of a verdict."""

from __future__ import annotations

from harness.model.trial import Trial
from harness.overlay.contract import Overlay


def expected_verdicts(trial: Trial, overlay: Overlay) -> tuple[str, ...]:
    raise NotImplementedError
