"""The steps of a trial over a lab that is none: whose fault comes first, which turn is asked for when, what is kept."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

import pytest

from harness.errors import LabError, LabNotAsDeclared, OverlayError
from harness.lab.process import Daemon, Usage
from harness.lab.tap import Tap
from harness.link.accounting import BUCKETS, Accounting, DirectionCounts, bucket_upper_us
from harness.link.backend import RunningLinks
from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.overlay.contract import Deployment, IpEndpoint, StreamEndpoint
from harness.probes.contract import Found, Measurement, Metric, Pair, Probe, ProbeSettings, Target
from harness.scenario.load import load_topology
from harness.trial import steps
from harness.trial.messages import Job, Step, Turn
from harness.trial.schedule import Schedule
from harness.trial.steps import TrialRun

LATE_US = 20_000.0


class Links:
    """Links that are late when the test says so."""

    def __init__(self) -> None:
        self.late = [0] * BUCKETS
        self.dead = False
        self.applied: dict[str, Any] = {}

    def send(self, late_us: float) -> None:
        self.late[next(i for i in range(BUCKETS) if bucket_upper_us(i) >= late_us)] += 1000

    def accounting(self) -> Accounting:
        if self.dead:
            raise LabError("the link helper is gone")
        way = DirectionCounts(lateness=tuple(self.late))
        return Accounting(backend="userlink", counts={"ra-internet": {"up": way}}, delay_ms={})


class Ground:
    """A lab of nothing but links; `log` is what happened in which order."""

    link_backend = "userlink"
    lab = None

    def __init__(self, log: list[str]) -> None:
        self.log = log
        self.slow_links = Links()
        self.sysctls: dict[str, str] = {}

    @property
    def links(self) -> RunningLinks | None:
        return cast(RunningLinks, cast(Any, self.slow_links))

    def build(self) -> None:
        self.log.append("build")

    def check_nats(self) -> dict[str, str]:
        return {"ra": "EIM/ADF/random"}

    def start_links(self) -> None: ...

    def watch(self) -> None: ...

    def check_links(self) -> None: ...

    def tap(self) -> Tap:
        log = self.log

        class Taps:
            def close(self) -> None:
                log.append("tap closed")

        return cast(Tap, Taps())

    def open_underlay(self) -> AbstractContextManager[None]:
        @contextlib.contextmanager
        def opened() -> Iterator[None]:
            self.log.append("underlay opened")
            yield
            self.log.append("underlay closed")

        return opened()

    def snapshot(self) -> str:
        return "what the nodes look like"


class Overlay:
    """An overlay that starts as the test says."""

    time_to_ready_s = 0.5

    def __init__(self, log: list[str], start: Callable[[], None]) -> None:
        self.log = log
        self._start = start

    def start(self) -> None:
        self.log.append("overlay started")
        self._start()

    def running_since(self) -> float:
        return 0.0

    def usage(self) -> Mapping[str, Usage]:
        return {}

    def claims(self) -> dict[str, str]:
        self.log.append("claims read")
        return {"said": "direct"}

    def check_alive(self, stopped: Collection[Daemon] = ()) -> None: ...

    def stop(self) -> None:
        self.log.append("overlay stopped")


class Settings(ProbeSettings):
    """None."""

    def own_time_s(self) -> float:
        return 1.0


class Fake(Probe[Settings, int]):
    """A probe that does as the test says, once for each call."""

    order = 0
    settings = Settings
    metrics = (Metric("figure", "1", "", ""),)

    def __init__(self, name: str, turn: Turn, does: Sequence[Callable[[], int]], **attributes: Any) -> None:
        self.name, self.turn, self.doing = name, turn, f"doing {name}"  # type: ignore[misc]
        self.needs = attributes.pop("needs", frozenset({"interface"}))  # type: ignore[misc]
        self.under = attributes.pop("under", False)
        self.does = list(does)
        self.calls: list[Pair] = []
        for key, value in attributes.items():
            setattr(self, key, value)

    def measure(self, target: Target, settings: Settings, trial: object) -> int:
        del settings, trial
        self.calls.append(target.pair)
        return self.does[min(len(self.calls), len(self.does)) - 1]()

    def over_underlay(self, settings: Settings) -> bool:
        del settings
        return bool(self.under)

    def summarise(self, found: Found[int], settings: Settings) -> list[Measurement]:
        del settings
        src, dst = found.target.pair
        kept = Measurement(probe=self.name, metric="figure", unit="1", value=found.overlay, src=src, dst=dst)
        gate = self.is_gate and not found.overlay
        failed = Measurement(
            probe=self.name, metric="gate", unit="1", value=0, outcome="failed", error="never answered"
        )
        return [kept, *([failed] if gate else [])]


class Orchestrator:
    """Grants every turn."""

    def __init__(self, log: list[str]) -> None:
        self.log = log

    def say(self, message: Step) -> None: ...

    def want(self, turn: Turn) -> None:
        self.log.append(f"turn {turn}")


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happened in which order, the keeping of paths included."""
    seen: list[str] = []

    @contextlib.contextmanager
    def kept(targets: Sequence[Target], every_s: float) -> Iterator[None]:
        seen.append(f"kept {len(targets)} at {every_s:g} s")
        yield
        seen.append("no more kept")

    monkeypatch.setattr(steps, "paths_kept", kept)
    return seen


def run_of(
    folder: Path,
    log: list[str],
    *probes: Fake,
    start: Callable[[Ground], None] = lambda _ground: None,
    deployment: Deployment | None = None,
    params: Mapping[str, Any] | None = None,
) -> tuple[TrialRun, Ground]:
    """A trial that is ready to run, and what it stands on."""
    topology = load_topology("two-sites").resolve(params or {})
    asked = Probes.model_construct(_fields_set=set())
    object.__setattr__(asked, "__pydantic_extra__", {probe.name: Settings() for probe in probes})
    trial = Trial.model_construct(
        id="t", scenario="s", repeat=1, seed=1, overlay="o", mode="mesh", topology=topology, probes=asked, links="auto"
    )
    ends = {name: IpEndpoint(address=f"10.9.0.{number}") for number, name in enumerate(topology.members, 1)}
    job = Job.model_construct(trial=trial, deployment=deployment or Deployment(endpoints=ends))
    ground = Ground(log)
    overlay = Overlay(log, lambda: start(ground))
    named: dict[str, Probe[Any, Any]] = {probe.name: probe for probe in probes}
    return (
        TrialRun(
            job,
            folder,
            channel=Orchestrator(log),
            spawned=0.0,
            ground=ground,
            overlay=overlay,
            probes=named,
            timeline=Schedule((), {}, ground.lab, overlay, folder),  # type: ignore[arg-type]
        ),
        ground,
    )


def values(run: TrialRun, metric: str) -> list[float | None]:
    return [one.value for one in run.measurements if one.metric == metric]


def failing(text: str) -> Callable[[], int]:
    def fail() -> int:
        raise OverlayError(text)

    return fail


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
    gate = Fake("path", "waiting", [lambda: 0], is_gate=True, repeatable=False)
    rest = Fake("load", "exclusive", [lambda: 1])
    run, _ = run_of(tmp_path, log, gate, rest)
    with pytest.raises(OverlayError, match="never answered"):
        run.run()
    assert run.claims == {"said": "direct"} and rest.calls == []
    assert values(run, "gate") == [0]


def test_turns_are_asked_for_once_and_paths_are_kept_while_they_are_waited_for(tmp_path: Path, log: list[str]) -> None:
    probes = [
        Fake("path", "waiting", [lambda: 1], is_gate=True),
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
