"""Links that were late or lost frames while something was measured make a trial invalid; late at other times, not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from harness.errors import LabNotAsDeclared
from harness.link.accounting import BUCKETS, Accounting, DirectionCounts, bucket_upper_us
from harness.link.backend import RunningLinks
from harness.trial.lateness import ATTEMPTS, LatenessMonitor


class Links:
    """Links whose account is whatever the test says."""

    def __init__(self) -> None:
        self.late = [0] * BUCKETS
        self.drops = 0

    def send(self, frames: int, late_us: float) -> None:
        self.late[next(i for i in range(BUCKETS) if bucket_upper_us(i) >= late_us)] += frames

    def accounting(self) -> Accounting:
        way = DirectionCounts(ingress_drops=self.drops, lateness=tuple(self.late))
        return Accounting(
            backend="userlink", counts={"ra-internet": {"up": way}}, delay_ms={"ra-internet": {"up": 2.0}}
        )


def judge(before: float, during: float, *, loose: bool = False, drops: int = 0) -> None:
    links = Links()
    lateness_monitor = LatenessMonitor(cast(RunningLinks, cast(Any, links)))
    links.send(1000, before)
    with lateness_monitor.measured(loose=loose):
        links.send(1000, during)
        links.drops += drops
    links.send(1000, before)
    lateness_monitor.require()


def test_lateness_outside_the_window_harms_nobody() -> None:
    judge(before=50_000, during=10)


@pytest.mark.parametrize(("loose", "late_us"), [(False, 2_000), (True, 20_000)])
def test_lateness_inside_is_refused_with_its_figure(loose: bool, late_us: float) -> None:
    with pytest.raises(LabNotAsDeclared, match=r"link ra-internet up: .*p99"):
        judge(before=10, during=late_us, loose=loose)


def test_a_loose_window_minds_milliseconds_less() -> None:
    judge(before=10, during=2_000, loose=True)


@pytest.mark.parametrize("loose", [False, True])
def test_a_dropped_frame_is_refused(loose: bool) -> None:
    with pytest.raises(LabNotAsDeclared, match="3 frames dropped"):
        judge(before=10, during=10, loose=loose, drops=3)


def test_a_lab_without_impaired_links_is_never_late() -> None:
    lateness_monitor = LatenessMonitor(None)
    with lateness_monitor.measured():
        pass
    lateness_monitor.require()


def measure(*late_us: float) -> tuple[int, LatenessMonitor]:
    """Measure over links that are so late in the first, second... measurement; gives which one was kept."""
    links = Links()
    lateness_monitor = LatenessMonitor(cast(RunningLinks, cast(Any, links)))
    taken = 0

    def take() -> int:
        nonlocal taken
        links.send(1000, late_us[taken])
        taken += 1
        return taken

    return lateness_monitor.measure(take), lateness_monitor


def test_a_measurement_over_late_links_is_taken_anew() -> None:
    kept, lateness_monitor = measure(2_000, 10)
    assert (kept, lateness_monitor.repeated) == (2, 1)
    lateness_monitor.require()


def test_a_punctual_measurement_is_taken_once() -> None:
    kept, lateness_monitor = measure(10)
    assert (kept, lateness_monitor.repeated) == (1, 0)


def test_links_that_are_late_each_time_are_refused_with_the_last_figure_kept() -> None:
    kept, lateness_monitor = measure(*[2_000] * ATTEMPTS)
    assert (kept, lateness_monitor.repeated) == (ATTEMPTS, ATTEMPTS - 1)
    with pytest.raises(LabNotAsDeclared, match=r"link ra-internet up: .*p99"):
        lateness_monitor.require()


def test_an_earlier_violation_is_not_forgotten_by_a_later_measurement() -> None:
    links = Links()
    lateness_monitor = LatenessMonitor(cast(RunningLinks, cast(Any, links)))
    with lateness_monitor.measured(loose=True, doing="finding the path"):
        links.send(1000, 20_000)
    lateness_monitor.measure(lambda: links.send(1000, 10))
    with pytest.raises(LabNotAsDeclared, match="while finding the path"):
        lateness_monitor.require()
