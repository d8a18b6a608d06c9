"""Holds tests to their folders, and those together that share a lab.

tests/run.sh reads labs from tests/lab alone, and nothing else from there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

LAB, NETEM = (Path(__file__).parent / name for name in ("lab", "netem"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Refuse a lab elsewhere and any other test among labs, which no part of `make test` would run."""
    ours = [item for item in items if item.path.is_relative_to(LAB.parent) and not item.path.is_relative_to(NETEM)]
    lost = [one.nodeid for one in ours if one.path.is_relative_to(LAB) != (one.get_closest_marker("lab") is not None)]
    if lost:
        raise pytest.UsageError(f"tests marked `lab` belong in tests/lab, and no others: {', '.join(lost)}")


# Files whose tests share labs that are dear to make: side by side, each worker would make them all.
TOGETHER = ("tests/lab/test_dual_stack_lab.py", "tests/lab/test_refmesh_portmap_lab.py")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep the tests of those files on one worker each.

    xdist's own mark for that, `xdist_group`, does nothing with this pytest: what xdist 3.8 adds to a test's name, by
    which it would know the group, pytest 9.2 does not take over.
    """
    if config.getoption("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling  # noqa: PLC0415  # only where xdist runs

    class Together(LoadGroupScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return file if file in TOGETHER else nodeid

    return Together(config, log)
