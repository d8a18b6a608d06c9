"""What an event did to a computation, told from rounds and pings whose truth is known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.probes.answers import Asked
from harness.probes.availability import (
    AvailabilityProbe,
    AvailabilitySettings,
    Outlived,
    fault_of,
    summarise_outage,
)
from harness.probes.contract import Found
from harness.probes.measurement import Target
from harness.probes.outage import Fault, Went
from harness.probes.pinglog import answered_pings
from harness.results.declared import NEVER
from harness.results.metrics import metric_of
from harness.timeline.performing import Performed


def figures(found: Iterator[Any]) -> dict[str, float | None]:
    return {one.metric: one.value for one in found}


def answers(*answered_s: float) -> list[Asked]:
    return [Asked(one - 0.01, one) for one in answered_s]


def test_a_pings_first_answer_counts_by_its_own_stamp() -> None:
    log = (
        "PING 10.0.0.2\n[100.010000] 64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=10.0 ms\n"
        "[100.020000] 64 bytes from 10.0.0.2: icmp_seq=1 ttl=64 time=20.0 ms (DUP!)\n"
        "[100.301000] no answer yet for icmp_seq=3\n"
        "[103.310000] 64 bytes from 10.0.0.2: icmp_seq=4 ttl=64 time=110 ms\n"
    )
    found = answered_pings(log)
    assert [one.answered_s for one in found] == [100.01, 103.31]
    assert [one.sent_s for one in found] == pytest.approx([100.0, 103.2])


def went(finished_s: Sequence[float], pings: Sequence[Sequence[Asked]], to_s: float | None = 20.0) -> Went:
    return Went(0.0, 30.0, tuple(finished_s), tuple(pings), Fault(10.0, 10.0, to_s, to_s))


def tenths(from_s: int, to_s: int) -> list[float]:
    return [step / 10 for step in range(10 * from_s + 1, 10 * to_s + 1)]


def test_an_outage_that_stops_everything_until_it_is_over() -> None:
    seen = went([*tenths(0, 10), *tenths(26, 30)], [answers(5.0, 21.0), answers(5.0, 22.5)])
    found = figures(summarise_outage(seen, "x.csv"))
    assert found["rounds_per_s"] == pytest.approx(10)
    assert found["availability"] == 0
    assert found["availability_after"] == pytest.approx(0.4)
    assert found["coasted_s"] == pytest.approx(0.0)
    assert found["rounds_recovery_s"] == pytest.approx(6.1)
    assert found["overlay_recovery_s"] == pytest.approx(2.5), "of the slowest pair"
    assert found["tcp_recovery_s"] == pytest.approx(3.6)


def test_who_does_not_notice_has_no_end_of_coasting() -> None:
    found = figures(summarise_outage(went(tenths(0, 30), [answers(*tenths(0, 30))]), "x.csv"))
    assert found["availability"] == pytest.approx(1) and found["coasted_s"] is None
    assert found["rounds_recovery_s"] == pytest.approx(0.1)


def test_who_coasts_and_then_stops_for_good() -> None:
    found = figures(summarise_outage(went(tenths(0, 14), [answers(5.0)]), "x.csv"))
    assert found["availability"] == pytest.approx(0.4)
    assert found["coasted_s"] == pytest.approx(4.0)
    assert found["rounds_recovery_s"] is None and found["overlay_recovery_s"] is None
    assert "tcp_recovery_s" not in found
    seen = figures(summarise_outage(went(tenths(0, 14), [answers(5.0, 21.0)]), "x.csv"))
    assert seen["overlay_recovery_s"] == pytest.approx(1.0) and seen["tcp_recovery_s"] is None, "TCP never came back"
    assert metric_of("tcp_recovery_s").estimator == metric_of("path_mtu_settled_s").estimator == "censored median"


def test_what_passes_while_the_event_or_its_end_is_being_done_is_neither_before_nor_during_it() -> None:
    # A service takes 2 s to be restarted and 3 s to be started again: rounds end in both, none in between.
    done = [*tenths(0, 8), 9.0, *tenths(17, 30)]
    seen = Went(0.0, 30.0, tuple(done), (), Fault(8.0, 10.0, 17.0, 20.0))
    found = figures(summarise_outage(seen, "x.csv"))
    assert found["rounds_per_s"] == pytest.approx(10) and found["availability"] == 0
    assert found["availability_after"] == pytest.approx(1)


def test_the_shares_have_their_step_at_the_event() -> None:
    shares = dict(went(tenths(0, 10), []).shares())
    assert shares[-1.0] == pytest.approx(1) and shares[0.0] == 0 and min(shares) == -10 and max(shares) == 19


def test_the_fault_is_the_first_event_and_its_own_end() -> None:
    def event(do: str, at_s: float, *, undone: bool = False) -> Performed:
        return Performed(do, "s", at_s, at_s, at_s, undone)

    happened = [event("reboot", 1.0), event("kill", 5.0), event("sleep", 6.0)]
    assert fault_of([*happened, event("sleep", 7.0, undone=True), event("kill", 9.0, undone=True)], 2.0) == Fault(
        5.0, 5.0, 9.0, 9.0
    )
    assert fault_of(happened, 2.0) == Fault(5.0, 5.0, None, None)
    assert fault_of(happened[:1], 2.0) is None


def test_an_event_that_it_never_came_to_is_said() -> None:
    target = Target(lab=None, src="a", dst="b", mode="mesh", folder=Path("/nowhere"))  # type: ignore[arg-type]
    seen = Found(target, Outlived(None, "x.csv", ("reboot ra",)))
    (only,) = AvailabilityProbe().summarise_trial([seen], AvailabilitySettings())
    assert (only.metric, only.value, only.phase, only.outcome) == ("availability", None, "after reboot ra", "error")
    assert only.error == NEVER
    assert not list(
        AvailabilityProbe().summarise_trial([Found(target, Outlived(None, "x.csv"))], AvailabilitySettings())
    )
