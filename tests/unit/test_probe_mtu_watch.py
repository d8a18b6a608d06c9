"""The path MTU over time: first, last, changes, and when it was what it stayed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.probes.contract import Found
from harness.probes.mtu_watch import Look, Looks, MtuWatchProbe, MtuWatchSettings, settled_s, to_csv


def looks(*carried: int | None) -> tuple[Look, ...]:
    return tuple(Look(3.0 * number, one) for number, one in enumerate(carried))


@pytest.mark.parametrize(
    ("carried", "settled", "changes"),
    [
        ((1400, 1400, 1400), 0.0, 0),
        ((1232, 1232, 1400, 1400), 6.0, 1),
        ((1232, 1400, 1232, 1400, 1400), 9.0, 3),
        ((1232, 1232, 1400), None, 1),  # nobody knows whether it stays so
        ((None, 1280, 1280), 3.0, 1),
        ((1400,), 0.0, 0),
        ((1400, None, None), None, 1),  # a path that is dead has not settled
    ],
)
def test_it_settles_where_all_later_looks_agree(
    carried: tuple[int | None, ...], settled: float | None, changes: int
) -> None:
    seen = looks(*carried)
    assert settled_s(seen) == settled
    target = SimpleNamespace(src="a", dst="b")
    found = MtuWatchProbe().summarise(Found(cast(Any, target), Looks(seen, "w.csv")), MtuWatchSettings())
    assert {one.metric: one.value for one in found} == {
        "path_mtu_settled_s": settled,
        "path_mtu_changes": changes,
        "path_mtu_first_bytes": carried[0],
        "path_mtu_last_bytes": carried[-1],
    }
    assert {one.metric for one in found} == {metric.name for metric in MtuWatchProbe.metrics}


def test_the_evidence_has_every_look() -> None:
    assert to_csv(looks(1400, None)) == "at_s,carried_bytes\n0.000,1400\n3.000,\n"
