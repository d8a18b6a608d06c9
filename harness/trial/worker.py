"""One trial in one sandbox, from start to end: the only file that orders its steps.

Forked by the fork server into a sandbox of its own; the trial's folder holds job.json and takes the evidence.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from harness.errors import OverlaybenchError, OverlayError
from harness.lab import counters
from harness.lab.baseline import open_underlay
from harness.lab.network import Lab
from harness.lab.snapshot import snapshot
from harness.lab.tap import Tap
from harness.link.precedence import deprioritise_lab
from harness.model.trial import Trial
from harness.overlay.search_path import search_path
from harness.probes.measurement import Measurement, Target
from harness.probes.path import measure_paths
from harness.sandbox.mounts import make_private
from harness.sandbox.unshare import run_as_init_check
from harness.trial.battery import Battery
from harness.trial.checks import check_links, check_nats
from harness.trial.deploy import RunningOverlay
from harness.trial.exhaustion import exhausted
from harness.trial.lateness import LatenessMonitor
from harness.trial.messages import Done, Job, Step, Turn, WantTurn


class Channel:
    """The worker's side of the conversation; whatever libraries print goes to stderr instead."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)

    def say(self, message: Step | WantTurn | Done) -> None:
        """Send one message."""
        self._out.write(message.model_dump_json() + "\n")

    def want(self, turn: Turn) -> None:
        """Give back the present turn and wait for another; an orchestrator that is gone ends the trial."""
        self.say(WantTurn(turn=turn))
        if sys.stdin.readline().strip() != "granted":
            raise SystemExit(1)


class TrialRun:
    """The state of one trial while it runs."""

    def __init__(self, job: Job, folder: Path, channel: Channel, spawned: float) -> None:
        self.trial: Trial = job.trial
        self.deployment = job.deployment
        self.folder = folder
        self.channel = channel
        self.spawned = spawned
        self.measurements: list[Measurement] = []
        self.nat_observed: dict[str, str] = {}
        self.claims: dict[str, str] = {}
        self.turn: Turn = "waiting"
        self.lateness_monitor = LatenessMonitor(None)
        self.lab = Lab(job.trial.topology, seed=job.trial.seed, link_choice=job.trial.links, workdir=folder)
        self.overlay = RunningOverlay(self.lab, job.deployment, folder)

    def run(self) -> None:
        """All steps in order. Raises whatever stops the trial; what was measured before stays in `measurements`."""
        probes = self.trial.probes
        self._step("building the lab")
        self._build()
        with self._tapping() as tap:
            self._step("deploying")
            with (
                open_underlay(self.lab) if self.deployment.open_underlay else contextlib.nullcontext(),
                self._looking_at_failures(),
            ):
                self._deploy()
                if probes.path is not None:
                    self._step("finding the path")
                    self._measure_paths(tap)
                tap.close()
                self._measure_over_overlay()
        self.overlay.stop()
        self._account_for_links()
        self.lateness_monitor.require()

    def _account_for_links(self) -> None:
        """Keep what the link backend says of the whole trial; each window of measurement has been judged by then."""
        if self.lab.links is None:
            return
        account = self.lab.links.accounting()
        said = {**account.as_dict(), "applied": self.lab.links.applied}
        (self.folder / "links.json").write_text(json.dumps(said, indent=1))
        self._measured("lab", "repeated_measurements", "count", self.lateness_monitor.repeated)
        lateness_us = account.lateness_us(0.99)
        if lateness_us is not None:
            self._measured("lab", "link_lateness_p99_us", "us", lateness_us)

    def _build(self) -> None:
        started = time.monotonic()
        self.lab.build()
        building_s = time.monotonic() - started
        # Before the links are started: the routers are met with no delay and no loss in between.
        started = time.monotonic()
        self.nat_observed = check_nats(self.lab)
        if self.nat_observed:
            self._measured("lab", "nat_check_s", "s", time.monotonic() - started)
        started = time.monotonic()
        self.lab.start_links()
        self.lateness_monitor = LatenessMonitor(self.lab.links)
        if self.lab.links is not None:
            deprioritise_lab(self.lab.links)
        self._measured("lab", "lab_start_s", "s", building_s + time.monotonic() - started)
        (self.folder / "offloads.json").write_text(json.dumps(self.lab.read_offloads(), indent=1))
        for name, router in self.lab.routers.items():
            (self.folder / f"{name}.nft").write_text(router.ruleset)
        counters.install(self.lab.watched_ports())
        self._step("checking the lab")
        check_links(self.lab)

    @contextlib.contextmanager
    def _looking_at_failures(self) -> Iterator[None]:
        """Keeps what the nodes look like when something fails in here, before anything is taken down."""
        try:
            yield
        except OverlaybenchError:
            evidence = self.folder / "failure.txt"
            if not evidence.exists():
                evidence.write_text(snapshot(self.lab))
            raise

    @contextlib.contextmanager
    def _tapping(self) -> Iterator[Tap]:
        ports = sorted({self.lab.port_of(name) for name in self.trial.topology.members})
        tap = Tap(ports, self.folder / "members.pcap")
        try:
            yield tap
        finally:
            tap.close()

    def _deploy(self) -> None:
        started = time.monotonic()
        self.overlay.start()
        if self.deployment.services:
            self._measured("deploy", "time_to_ready_s", "s", self.overlay.time_to_ready_s)
        self._measured("lab", "fixed_overhead_s", "s", time.time() - self.spawned - (time.monotonic() - started))

    def _targets(self, label: str = "overlay") -> list[Target]:
        members = self.trial.topology.members
        return [self._target(src, dst, label) for i, src in enumerate(members) for dst in members[i + 1 :]]

    def _target(self, src: str, dst: str, label: str) -> Target:
        if label == "overlay":
            addresses = [self.deployment.endpoints[name].address for name in (src, dst)]
        else:
            topology = self.trial.topology
            family = topology.common_families(topology.members)[0]
            addresses = [topology.address_in(name, family) for name in (src, dst)]
        return Target(
            lab=self.lab,
            src=src,
            dst=dst,
            src_address=addresses[0],
            dst_address=addresses[1],
            mode=self.trial.mode,
            folder=self.folder,
            label=label,
        )

    def _measure_paths(self, tap: Tap) -> None:
        probe = self.trial.probes.path
        assert probe is not None
        since = self.overlay.running_since()
        with self.lateness_monitor.measured(path_only=True):
            self.measurements += measure_paths(self._targets(), probe, tap, since)
        self.claims = self.overlay.claims()
        self.overlay.check_alive()

    def _measure_over_overlay(self) -> None:
        """What the overlay does once it connects, and then, without it, what the underlay does."""
        unconnected = [m.error for m in self.measurements if m.metric == "connect_success" and m.value == 0.0]
        if unconnected:
            raise OverlayError(str(unconnected[0]))
        battery = Battery(self.trial, self.lab, self.overlay, self.lateness_monitor, self._turn)
        pairs = {(target.src, target.dst): target for target in self._targets()}
        try:
            battery.over_overlay(pairs)
            self.overlay.check_alive()
            self.overlay.stop()
            if not self.deployment.open_underlay:
                with open_underlay(self.lab), self._looking_at_failures():
                    battery.over_underlay({(target.src, target.dst): target for target in self._targets("underlay")})
        finally:  # a later probe that fails does not take the earlier ones' figures along
            self.measurements += battery.figures(pairs)

    def _turn(self, turn: Turn, text: str) -> None:
        if self.turn != turn:
            self.channel.want(turn)
            self.turn = turn
        self._step(text)

    def _measured(self, probe: str, metric: str, unit: str, value: float) -> None:
        self.measurements.append(Measurement(probe=probe, metric=metric, unit=unit, value=value))

    def _step(self, text: str) -> None:
        self.channel.say(Step(text=text))


def work(folder: Path, spawned: float) -> None:
    """Run the job in `folder` and report; called as PID 1 of a sandbox, `spawned` is Unix time."""
    run_as_init_check()
    os.environ["PATH"] = search_path()
    channel = Channel()
    os.chdir(folder)
    job = Job.model_validate_json((folder / "job.json").read_text())
    make_private(folder)
    run = TrialRun(job, folder, channel, spawned)
    outcome, error, cannot_write = "ok", None, None
    try:
        run.run()
    except OverlaybenchError as failure:
        outcome, error, cannot_write = failure.outcome, str(failure), exhausted(folder)
    except OSError as failure:
        outcome, error, cannot_write = "error", str(failure), exhausted(folder, failure)
        traceback.print_exc()
    except Exception as failure:  # the orchestrator must hear of it, whatever it is
        traceback.print_exc()
        outcome, error = "error", f"{type(failure).__name__}: {failure}"
    channel.say(
        Done(
            outcome=outcome,  # type: ignore[arg-type]
            error=error,
            measurements=[asdict(_relative(one, folder)) for one in run.measurements],
            nat_observed=run.nat_observed,
            link_backend=run.lab.link_backend,
            claims=run.claims,
            sysctls=run.lab.sysctls,
            cannot_write=cannot_write,
        )
    )


def _relative(measurement: Measurement, folder: Path) -> Measurement:
    if measurement.evidence is None:
        return measurement
    return replace(measurement, evidence=str(Path(measurement.evidence).relative_to(folder)))
