"""One trial from start to end: the only file that orders its steps. What they act on is passed in."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from harness.errors import LabNotAsDeclared, OverlaybenchError, OverlayError
from harness.lab.process import Daemon, Usage
from harness.lab.tap import Tap
from harness.link.accounting import Accounting
from harness.overlay.contract import Deployment
from harness.probes.contract import Measurement, Probe, Target
from harness.trial.battery import Battery
from harness.trial.ground import Ground, evidence_of_failure
from harness.trial.keepalive import interval_s, paths_kept
from harness.trial.lateness import LatenessMonitor
from harness.trial.live import LiveView
from harness.trial.messages import Job, Step, Turn
from harness.trial.schedule import Schedule
from harness.trial.targets import targets_of

_STRICTNESS: Final[tuple[Turn, ...]] = ("waiting", "shared", "exclusive")


class Orchestrator(Protocol):
    """The process that started the trial."""

    def say(self, message: Step) -> None:
        """Send one message."""

    def want(self, turn: Turn) -> None:
        """Give back the present turn; return when the trial has another."""


class Overlay(Protocol):
    """The overlay at work; `harness.trial.deploy.RunningOverlay` is the real one."""

    time_to_ready_s: float
    ready_unix_s: float

    def start(self) -> None:
        """Deploy; return when all is ready. Raises OverlayError."""

    def running_since(self) -> float:
        """Return the Unix time at which the last member's daemon was started."""

    def usage(self) -> Mapping[str, Usage]:
        """Return what the daemons have used so far, by node."""

    def claims(self) -> dict[str, str]:
        """Return what it says of itself, by claim source."""

    def check_alive(self, stopped: Collection[Daemon] = ()) -> None:
        """Raise OverlayError when a daemon has died that was not stopped on purpose."""

    def stop(self) -> None:
        """End all daemons; safe to call twice."""


class TrialRun:
    """The state of one trial while it runs, and what a probe may ask of it (`harness.probes.contract.Surroundings`)."""

    tap: Tap

    def __init__(
        self,
        job: Job,
        folder: Path,
        *,
        channel: Orchestrator,
        spawned: float,
        ground: Ground,
        overlay: Overlay,
        probes: Mapping[str, Probe[Any, Any]],
        timeline: Schedule,
        pause: Callable[[OverlayError], None] = lambda _failure: None,
    ) -> None:
        self.trial = job.trial
        self.deployment: Deployment = job.deployment
        self.folder = folder
        self.channel = channel
        self.spawned = spawned
        self.ground = ground
        self.overlay = overlay
        self.probes = probes
        self.timeline = timeline
        self._pause = pause
        self.measurements: list[Measurement] = []
        self.nat_observed: dict[str, str] = {}
        self.claims: dict[str, str] = {}
        self.turn: Turn = "waiting"
        self.lateness_monitor = LatenessMonitor(None)
        self._in_use: list[Target] = []
        self._live = job.live

    def run(self) -> None:
        """Run all steps in order. What was measured before one fails stays in `measurements`.

        Raises:
            LabNotAsDeclared: links were late while something was measured, or failed, or a router's program ended; also
                where that made the overlay fail.
            OverlaybenchError: what stopped the trial.
        """
        try:
            self._steps()
        except OverlaybenchError as failure:
            self._account_for_links()
            if isinstance(failure, OverlayError):
                self._blame_routers(failure)
            self.lateness_monitor.blame(failure)
        self._account_for_links()
        self.ground.require_daemons()
        self.lateness_monitor.require()

    def _blame_routers(self, failure: OverlayError) -> None:
        """Raise LabNotAsDeclared, with what failed, where a router's program has ended."""
        try:
            self.ground.require_daemons()
        except LabNotAsDeclared as ended:
            raise LabNotAsDeclared(f"{ended}; what failed behind it shows nothing: {failure}") from failure

    def _steps(self) -> None:
        self._step("building the lab")
        self._build()
        self.tap = self.ground.tap()
        with contextlib.closing(self.tap), self.ground.captures(), self._shown():
            self._turn("waiting", "deploying")
            open_while_deployed = self.ground.open_underlay if self.deployment.open_underlay else contextlib.nullcontext
            with open_while_deployed(), self._looking_at_failures():
                self._deploy()
                self._measure()
        self.overlay.stop()

    def _shown(self) -> AbstractContextManager[object]:
        """Say what happens meanwhile, where that is asked for."""
        if not self._live:
            return contextlib.nullcontext()
        return contextlib.closing(LiveView(self.ground.lab, self.timeline, self._step))

    def _build(self) -> None:
        started = time.monotonic()
        self.ground.build()
        building_s = time.monotonic() - started
        # Before the links are started: the routers are met with no delay and no loss in between.
        started = time.monotonic()
        self.nat_observed = self.ground.check_nats()
        if self.nat_observed:
            self._measured("lab", "nat_check_s", "s", time.monotonic() - started)
        started = time.monotonic()
        self.ground.start_links()
        self.lateness_monitor = LatenessMonitor(self.ground.links)
        self._measured("lab", "lab_start_s", "s", building_s + time.monotonic() - started)
        self.ground.watch()
        self._step("checking the lab")
        self.ground.check_links()

    def _deploy(self) -> None:
        self.timeline.prepare()
        started = time.monotonic()
        with self.lateness_monitor.measured(loose=True, doing="the overlay was started"):
            self.overlay.start()
        self.timeline.reached("ready")
        if self.deployment.services:
            self._measured("deploy", "time_to_ready_s", "s", self.overlay.time_to_ready_s)
        self._measured("lab", "fixed_overhead_s", "s", time.time() - self.spawned - (time.monotonic() - started))

    def _measure(self) -> None:
        """Measure the overlay, and then, without it, the underlay."""
        battery = Battery(
            asked=self.trial.probes,
            registered=self.probes,
            surroundings=self,
            lateness_monitor=self.lateness_monitor,
            take_turn=self._turn,
            connected=self._connected,
            told=self._step if self._live else None,
        )
        try:
            self._in_use = self._targets("overlay")
            with self._looking_at_failures():
                battery.over_overlay(self._in_use)
            self.overlay.check_alive(self.timeline.stopped)
            if battery.compares:
                self._without_overlay(battery.over_underlay)
        except OverlayError as failure:
            if battery.may_be_the_labs:
                # Whoever wants to look inside wants to see the overlay that failed, not a lab without it.
                self._pause(failure)
                self._without_overlay(battery.look_below)
            raise
        finally:  # a later probe that fails does not take the earlier ones' figures along
            self.measurements += battery.figures()

    def _without_overlay(self, measure: Callable[[list[Target]], None]) -> None:
        """Stop the overlay and measure the underlay as declared, unless that was measured already."""
        self._in_use = []
        self.overlay.stop()
        if not self.deployment.open_underlay:
            self.timeline.settle()
            with self.ground.open_underlay(), self._looking_at_failures():
                measure(self._targets("underlay"))

    def _connected(self) -> None:
        self.claims = self.overlay.claims()
        self.overlay.check_alive(self.timeline.stopped)
        self.timeline.reached("connected")

    @property
    def absent(self) -> frozenset[str]:
        """See `Surroundings`."""
        return self.timeline.absent

    @property
    def running_since(self) -> float:
        """See `Surroundings`."""
        return self.overlay.running_since()

    @property
    def ready_since(self) -> float:
        """See `Surroundings`."""
        return self.overlay.ready_unix_s

    def usage(self) -> Mapping[str, Usage]:
        """See `Surroundings`."""
        return self.overlay.usage()

    def carried(self) -> Accounting:
        """See `Surroundings`."""
        return Accounting(backend="none") if self.ground.links is None else self.ground.links.accounting()

    def _targets(self, label: Literal["overlay", "underlay"]) -> list[Target]:
        return targets_of(self.trial, self.deployment, self.ground.lab, self.folder, label)

    @property
    def _ahead(self) -> Turn:
        """The turn that a trial takes before it deploys and keeps to its end.

        Between two contents there is no traffic that could keep a path: a trial of content alone that waited half-way
        would depend on how long, so it takes the strictest turn of its probes first.
        """
        if not self.deployment.contents or self.deployment.endpoints or self.deployment.streams:
            return "waiting"
        turns = (
            self.probes[name].turn for name, _ in self.trial.probes.items() if "content" in self.probes[name].needs
        )
        return max(turns, key=_STRICTNESS.index, default="waiting")

    def _turn(self, turn: Turn, text: str) -> None:
        if turn != "waiting":
            self.tap.close()  # it looks at every packet
        turn = max(turn, self._ahead, key=_STRICTNESS.index)
        if self.turn != turn:
            used = [target for target in self._in_use if not set(target.pair) & self.absent]
            with paths_kept(used, interval_s(self.trial.topology)):
                self.channel.want(turn)
            self.turn = turn
        self._step(text)

    def _account_for_links(self) -> None:
        """Keep the link backend's account of the whole trial; each window of measurement has been judged by then."""
        links = self.ground.links
        if links is None:
            return
        account = links.accounting()
        (self.folder / "links.json").write_text(json.dumps({**account.as_dict(), "applied": links.applied}, indent=1))
        self._measured("lab", "repeated_measurements", "count", self.lateness_monitor.repeated)
        lateness_us = account.lateness_us(0.99)
        if lateness_us is not None:
            self._measured("lab", "link_lateness_p99_us", "us", lateness_us)

    @contextlib.contextmanager
    def _looking_at_failures(self) -> Iterator[None]:
        with evidence_of_failure(self.ground.snapshot, self.folder / "failure.txt", OverlaybenchError):
            yield

    def _measured(self, probe: str, metric: str, unit: str, value: float) -> None:
        self.measurements.append(Measurement(probe=probe, metric=metric, unit=unit, value=value))

    def _step(self, text: str) -> None:
        self.channel.say(Step(text=text))
