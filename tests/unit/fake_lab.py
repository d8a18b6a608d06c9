"""A lab that is none, an overlay and probes that do as a test says: what the steps of a trial act on."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, cast

from harness.errors import LabError, LabNotAsDeclared, OverlayError
from harness.lab.process import Daemon, Usage
from harness.lab.tap import Tap
from harness.link.accounting import BUCKETS, Accounting, DirectionCounts, bucket_upper_us
from harness.link.backend import RunningLinks
from harness.model.probes import Probes
from harness.model.trial import Trial
from harness.overlay.contract import Deployment, IpEndpoint
from harness.probes.contract import Found, Measurement, Metric, Pair, Probe, ProbeSettings, Target
from harness.scenario.load import load_topology
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
        self.ended_daemon = ""

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

    def require_daemons(self) -> None:
        if self.ended_daemon:
            raise LabNotAsDeclared(self.ended_daemon)

    def tap(self) -> Tap:
        log = self.log

        class Taps:
            def close(self) -> None:
                log.append("tap closed")

        return cast(Tap, Taps())

    def captures(self) -> AbstractContextManager[None]:
        return contextlib.nullcontext()

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

    def why_no_baseline(self, target: Target, found: int, settings: Settings) -> str | None:
        del settings
        return None if found else f"carried nothing from {target.src} to {target.dst}"

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


def run_of(
    folder: Path,
    log: list[str],
    *probes: Fake,
    start: Callable[[Ground], None] = lambda _ground: None,
    deployment: Deployment | None = None,
    params: Mapping[str, Any] | None = None,
    mode: str = "mesh",
    pause: Callable[[OverlayError], None] = lambda _failure: None,
) -> tuple[TrialRun, Ground]:
    """Return a trial that is ready to run, and what it stands on."""
    topology = load_topology("two-sites").resolve(params or {})
    asked = Probes.model_construct(_fields_set=set())
    object.__setattr__(asked, "__pydantic_extra__", {probe.name: Settings() for probe in probes})
    trial = Trial.model_construct(
        id="t", scenario="s", repeat=1, seed=1, overlay="o", mode=mode, topology=topology, probes=asked, links="auto"
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
            pause=pause,
        ),
        ground,
    )


def values(run: TrialRun, metric: str) -> list[float | None]:
    return [one.value for one in run.measurements if one.metric == metric]


def failing(text: str) -> Callable[[], int]:
    def fail() -> int:
        raise OverlayError(text)

    return fail
