"""Links that were late or lost frames while something was measured make a trial invalid; late at other times, not."""

from __future__ import annotations

from typing import Any, cast

import pytest

from harness.errors import LabNotAsDeclared
from harness.link.accounting import BUCKETS, Accounting, DirectionCounts, bucket_upper_us
from harness.link.backend import RunningLinks
from harness.punctuality import Punctuality


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


def judge(before: float, during: float, *, path_only: bool = False, drops: int = 0) -> None:
    links = Links()
    punctuality = Punctuality(cast(RunningLinks, cast(Any, links)))
    links.send(1000, before)
    with punctuality.measured(path_only=path_only):
        links.send(1000, during)
        links.drops += drops
    links.send(1000, before)
    punctuality.require()


def test_lateness_outside_the_window_harms_nobody() -> None:
    judge(before=50_000, during=10)


@pytest.mark.parametrize(("path_only", "late_us"), [(False, 2_000), (True, 20_000)])
def test_lateness_inside_is_refused_with_its_figure(path_only: bool, late_us: float) -> None:
    with pytest.raises(LabNotAsDeclared, match=r"link ra-internet up: .*p99"):
        judge(before=10, during=late_us, path_only=path_only)


def test_the_path_probe_minds_milliseconds_less() -> None:
    judge(before=10, during=2_000, path_only=True)


@pytest.mark.parametrize("path_only", [False, True])
def test_a_dropped_frame_is_refused(path_only: bool) -> None:
    with pytest.raises(LabNotAsDeclared, match="3 frames dropped"):
        judge(before=10, during=10, path_only=path_only, drops=3)


def test_a_lab_without_impaired_links_is_never_late() -> None:
    punctuality = Punctuality(None)
    with punctuality.measured():
        pass
    punctuality.require()
