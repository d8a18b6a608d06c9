"""All registered probes, found by entry point: one outside this repository is as good as one inside."""

from __future__ import annotations

from functools import cache
from typing import Any

from harness.model.extensions import extensions
from harness.probes.contract import GROUP, Probe


@cache
def probes() -> dict[str, Probe[Any, Any]]:
    """Return all probes by name, in the order in which a trial runs them.

    Raises:
        MissingPrerequisite: a package registers something that is no probe.
    """
    return extensions(GROUP, Probe)
