"""The steps of a trial over a lab that is none: whose fault comes first, which turn is asked for when, what is kept."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from fake_lab import LATE_US, Fake, Ground, failing, run_of, values

from harness.errors import LabError, LabNotAsDeclared, OverlayError
from harness.overlay.contract import ContentEndpoint, Deployment, StreamEndpoint
from harness.probes.contract import Target
from harness.trial import steps


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return what happened in which order, the keeping of paths included."""
    seen: list[str] = []

    @contextlib.contextmanager
    def kept(targets: Sequence[Target], every_s: float) -> Iterator[None]:
        seen.append(f"kept {len(targets)} at {every_s:g} s")
        yield
        seen.append("no more kept")

    monkeypatch.setattr(steps, "paths_kept", kept)
    return seen


def test_what_fails_over_late_links_is_invalid_and_says_both(tmp_path: Path, log: list[str]) -> None:
    def start(ground: Ground) -> None:
        ground.slow_links.send(LATE_US)
        raise OverlayError("a on ra not ready in 15 s")

    run, _ = run_of(tmp_path, log, start=start)
    with pytest.raises(
        LabNotAsDeclared, match=r"ra-internet up: p99 .* while the overlay was started.*not ready in 15"
    ):
        run.run()


def test_what_fails_over_good_links_is_the_overlays_and_its_links_are_kept(tmp_path: Path, log: list[str]) -> None:
    def start(ground: Ground) -> None:
        ground.slow_links.send(10)
        raise OverlayError("not ready")

    run, _ = run_of(tmp_path, log, start=start)
    with pytest.raises(OverlayError, match="not ready"):
        run.run()
    assert json.loads((tmp_path / "links.json").read_text())["backend"] == "userlink"
    assert values(run, "link_lateness_p99_us") and values(run, "repeated_measurements") == [0]
    assert (tmp_path / "failure.txt").read_text() == "what the nodes look like"
    assert log[-1] == "tap closed"


def test_what_fails_behind_a_router_whose_program_ended_is_the_labs(tmp_path: Path, log: list[str]) -> None:
    def start(ground: Ground) -> None:
        ground.ended_daemon = "router ra: tayga ended (exit status -9)"
        raise OverlayError("not ready")

    run, _ = run_of(tmp_path, log, start=start)
    with pytest.raises(LabNotAsDeclared, match=r"tayga ended .*shows nothing: not ready"):
        run.run()


def test_figures_behind_a_router_whose_program_ended_are_invalid(tmp_path: Path, log: list[str]) -> None:
    def start(ground: Ground) -> None:
        ground.ended_daemon = "router ra: tayga ended (exit status -9)"

    run, _ = run_of(tmp_path, log, start=start)
    with pytest.raises(LabNotAsDeclared, match="tayga ended"):
        run.run()


def test_late_links_are_no_excuse_for_the_harness(tmp_path: Path, log: list[str]) -> None:
    def start(ground: Ground) -> None:
        ground.slow_links.send(LATE_US)
        raise LabError("mnexec is not there")

    run, _ = run_of(tmp_path, log, start=start)
    with pytest.raises(LabError, match="mnexec"):
        run.run()


def test_a_helper_that_died_is_found_before_the_overlay_is_blamed(tmp_path: Path, log: list[str]) -> None:
    def start(ground: Ground) -> None:
        ground.slow_links.dead = True
        raise OverlayError("not ready")

    run, _ = run_of(tmp_path, log, start=start)
    with pytest.raises(LabError, match="the link helper is gone"):
        run.run()


def test_a_probe_that_raises_over_late_links_is_taken_again(tmp_path: Path, log: list[str]) -> None:
    ground_of: list[Ground] = []

    def late() -> int:
        ground_of[0].slow_links.send(LATE_US)
        raise OverlayError("cut off")

    probe = Fake("load", "exclusive", [late, lambda: 7])
    run, ground = run_of(tmp_path, log, probe)
    ground_of.append(ground)
    run.run()
    assert values(run, "figure") == [7] and values(run, "repeated_measurements") == [1]


def test_a_probe_that_raises_each_time_over_late_links_is_invalid(tmp_path: Path, log: list[str]) -> None:
    ground_of: list[Ground] = []

    def late() -> int:
        ground_of[0].slow_links.send(LATE_US)
        raise OverlayError("cut off")

    run, ground = run_of(tmp_path, log, Fake("load", "exclusive", [late]))
    ground_of.append(ground)
    with pytest.raises(LabNotAsDeclared, match=r"while doing load; .*shows nothing: cut off"):
        run.run()


def test_a_probe_that_raises_over_good_links_fails_and_earlier_figures_stay(tmp_path: Path, log: list[str]) -> None:
    first, second = Fake("first", "shared", [lambda: 1]), Fake("second", "exclusive", [failing("cut off")])
    run, _ = run_of(tmp_path, log, first, second)
    with pytest.raises(OverlayError, match="cut off"):
        run.run()
    assert len(second.calls) == 1
    assert values(run, "figure") == [1]


def test_what_can_be_seen_only_once_is_judged_and_not_repeated(tmp_path: Path, log: list[str]) -> None:
    ground_of: list[Ground] = []

    def late() -> int:
        ground_of[0].slow_links.send(LATE_US)
        return 3

    probe = Fake("path", "waiting", [late], repeatable=False, minds_lateness=False)
    run, ground = run_of(tmp_path, log, probe)
    ground_of.append(ground)
    with pytest.raises(LabNotAsDeclared, match="while doing path"):
        run.run()
    assert len(probe.calls) == 1 and values(run, "figure") == [3]


def test_a_gate_that_fails_ends_the_trial_after_the_claims_were_read(tmp_path: Path, log: list[str]) -> None:
    gate = Fake("path", "waiting", [lambda: 0], is_gate=True, tells_connected=True, repeatable=False)
    rest = Fake("load", "exclusive", [lambda: 1])
    run, _ = run_of(tmp_path, log, gate, rest)
    with pytest.raises(OverlayError, match="never answered"):
        run.run()
    assert run.claims == {"said": "direct"} and rest.calls == []
    assert values(run, "gate") == [0]


def test_a_later_gate_ends_the_trial_too_and_tells_nothing_of_connecting(tmp_path: Path, log: list[str]) -> None:
    """What is silent after idling has failed, though it had connected."""
    gate = Fake("traffic", "waiting", [lambda: 0], is_gate=True, repeatable=False)
    rest = Fake("load", "exclusive", [lambda: 1])
    run, _ = run_of(tmp_path, log, gate, rest)
    with pytest.raises(OverlayError, match="never answered"):
        run.run()
    assert "claims read" not in log and rest.calls == [] and values(run, "gate") == [0]


def test_turns_are_asked_for_once_and_paths_are_kept_while_they_are_waited_for(tmp_path: Path, log: list[str]) -> None:
    probes = [
        Fake("path", "waiting", [lambda: 1], is_gate=True, tells_connected=True),
        Fake("latency", "shared", [lambda: 1], under=True),
        Fake("sizes", "shared", [lambda: 1]),
        Fake("load", "exclusive", [lambda: 1], under=True),
    ]
    run, _ = run_of(
        tmp_path, log, *probes, params={"nat_a": {"mapping": "EIM", "filtering": "EIF", "udp_lifetime_s": 1}}
    )
    run.run()
    kept = ["kept 1 at 0.5 s", "no more kept"]
    assert [one for one in log if one not in {"tap closed"}] == [
        *("build", "overlay started", "claims read"),
        *(kept[0], "turn shared", kept[1]),
        *(kept[0], "turn exclusive", kept[1]),
        *("overlay stopped", "underlay opened"),
        # Nothing has mappings to lose on the bare underlay.
        *("kept 0 at 0.5 s", "turn shared", kept[1]),
        *("underlay closed", "overlay stopped"),
    ]
    assert log.index("tap closed") < log.index("turn shared"), "the tap looks at every packet"


def test_a_probe_is_not_run_on_endpoints_that_it_cannot_measure(tmp_path: Path, log: list[str]) -> None:
    streams = tuple(
        StreamEndpoint(src=src, dst=dst, listen_port=port, service_port=port + 10)
        for src, dst, port in (("a", "b", 4000), ("b", "a", 4001))
    )
    rtt = Fake("rtt", "shared", [lambda: 1])
    bulk = Fake("bulk", "exclusive", [lambda: 2], needs=frozenset({"interface", "stream"}))
    run, _ = run_of(tmp_path, log, rtt, bulk, deployment=Deployment(streams=streams))
    run.run()
    assert rtt.calls == [] and bulk.calls == [("a", "b")]
    (skipped,) = (one for one in run.measurements if one.probe == "rtt")
    assert (skipped.value, skipped.outcome) == (None, "unsupported")
    assert skipped.error == "rtt measures interface; here is stream alone"
    assert "turn shared" not in log


def test_content_alone_takes_its_strictest_turn_before_it_deploys_and_keeps_it(tmp_path: Path, log: list[str]) -> None:
    contents = (ContentEndpoint(src="a", dst="b", publish=("put",), identifier="(.+)", fetch=("get",)),)
    kinds = frozenset({"interface", "content"})
    probes = [
        Fake("path", "waiting", [lambda: 1], is_gate=True, tells_connected=True, needs=kinds),
        Fake("content", "exclusive", [lambda: 1], under=True, needs=kinds),
        Fake("udp", "exclusive", [lambda: 1]),
    ]
    run, _ = run_of(tmp_path, log, *probes, deployment=Deployment(contents=contents))
    run.run()
    assert [one for one in log if one.startswith(("turn", "overlay started"))] == ["turn exclusive", "overlay started"]
    assert log.index("tap closed") > log.index("overlay started"), "it is open while the path is looked for"


def test_content_whose_path_alone_is_looked_for_waits_for_no_turn(tmp_path: Path, log: list[str]) -> None:
    contents = (ContentEndpoint(src="a", dst="b", publish=("put",), identifier="(.+)", fetch=("get",)),)
    path = Fake("path", "waiting", [lambda: 1], is_gate=True, tells_connected=True, needs=frozenset({"content"}))
    run, _ = run_of(
        tmp_path, log, path, Fake("load", "exclusive", [lambda: 1]), deployment=Deployment(contents=contents)
    )
    run.run()
    assert not [one for one in log if one.startswith("turn")]
