"""What a trial measures once its members are connected: quiet things beside other trials, load alone."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from functools import partial

from harness.lab.network import Lab
from harness.link.accounting import Accounting
from harness.model.probes import LatencyProbe, Probes, ThroughputProbe
from harness.model.trial import Trial
from harness.probes.cost import moved_bytes, summarise_cost, usage_by_node
from harness.probes.latency import Sample, sample_rtt, summarise_rtt
from harness.probes.loaded_latency import sample_under_load, summarise_loaded
from harness.probes.measurement import Measurement, Target
from harness.probes.mtu import measure_mtu
from harness.probes.overhead import summarise_overhead
from harness.probes.throughput import Throughput, measure_throughput, summarise_throughput
from harness.probes.udp import measure_udp
from harness.trial.deploy import RunningOverlay
from harness.trial.lateness import LatenessMonitor
from harness.trial.messages import Turn

Pair = tuple[str, str]


@dataclass
class Battery:
    """The probes of one trial but the path probe; `take_turn` waits until this trial may do what it is about to."""

    trial: Trial
    lab: Lab
    overlay: RunningOverlay
    lateness_monitor: LatenessMonitor
    take_turn: Callable[[Turn, str], None]
    _found: list[Measurement] = field(default_factory=list)
    _samples: dict[Pair, list[Sample]] = field(default_factory=dict)
    _samples_under: dict[Pair, list[Sample]] = field(default_factory=dict)
    _over: dict[Pair, Throughput] = field(default_factory=dict)
    _under: dict[Pair, Throughput] = field(default_factory=dict)

    @property
    def _probes(self) -> Probes:
        return self.trial.probes

    def over_overlay(self, pairs: dict[Pair, Target]) -> None:
        """Everything that is measured while the overlay runs.

        Raises:
            OverlayError: a probe's own program could not reach the peer.
        """
        probes = self._probes
        if probes.latency is not None:
            self.take_turn("shared", "measuring latency")
            self._samples = self._latency(pairs, probes.latency)
        if probes.mtu is not None:
            self.take_turn("shared", "measuring the MTU")
            for target in pairs.values():
                self._found += measure_mtu(target, probes.mtu)
        if probes.throughput is not None:
            self.take_turn("exclusive", "measuring throughput")
            self._throughput(pairs, probes.throughput)
        if probes.loaded_latency is not None:
            self.take_turn("exclusive", "measuring latency under load")
            for pair, target in pairs.items():
                loaded = self.lateness_monitor.measure(partial(sample_under_load, target, probes.loaded_latency))
                self._found += summarise_loaded(target, loaded, self._samples.get(pair))
        if probes.udp is not None:
            self.take_turn("exclusive", "seeking UDP goodput")
            for target in pairs.values():
                self._found += self.lateness_monitor.measure(partial(measure_udp, target, probes.udp))

    def over_underlay(self, pairs: dict[Pair, Target]) -> None:
        """The same without the overlay, where its figures are set beside the overlay's."""
        throughput, latency = self._probes.throughput, self._probes.latency
        if throughput is not None and throughput.baseline == "lab":
            self.take_turn("exclusive", "measuring the underlay's throughput")
            self._under = self.lateness_monitor.measure(
                lambda: {pair: measure_throughput(target, throughput) for pair, target in pairs.items()}
            )
        if latency is not None:
            self.take_turn("shared", "measuring the underlay's latency")
            self._samples_under = self._latency(pairs, latency)

    def figures(self, pairs: dict[Pair, Target]) -> list[Measurement]:
        """All that was found, overlay beside underlay."""
        figures = list(self._found)
        for pair, target in pairs.items():
            if pair in self._samples:
                figures += summarise_rtt(target, self._samples[pair], self._samples_under.get(pair))
            if pair in self._over:
                figures += summarise_throughput(target, self._over[pair], self._under.get(pair))
        return figures

    def _latency(self, pairs: dict[Pair, Target], probe: LatencyProbe) -> dict[Pair, list[Sample]]:
        return self.lateness_monitor.measure(
            lambda: {pair: sample_rtt(target, probe) for pair, target in pairs.items()}
        )

    def _throughput(self, pairs: dict[Pair, Target], probe: ThroughputProbe) -> None:
        self._over, cost = self.lateness_monitor.measure(lambda: self._throughput_and_cost(pairs, probe))
        self._found += cost

    def _throughput_and_cost(
        self, pairs: dict[Pair, Target], probe: ThroughputProbe
    ) -> tuple[dict[Pair, Throughput], list[Measurement]]:
        used, account = usage_by_node(self.overlay.daemons.values()), self._account()
        found = {pair: measure_throughput(target, probe) for pair, target in pairs.items()}
        used_then, account_then = usage_by_node(self.overlay.daemons.values()), self._account()
        moved = moved_bytes(found.values(), probe)
        cost = [*summarise_cost(used, used_then, moved)]
        return found, [*cost, *summarise_overhead(account_then.since(account).counts, moved, **self._exits())]

    def _account(self) -> Accounting:
        return Accounting(backend="none") if self.lab.links is None else self.lab.links.accounting()

    def _exits(self) -> dict[str, frozenset[str]]:
        """The links by which the members' sites and the server reach the outermost segment: what they send is counted
        there."""
        topology = self.trial.topology
        if topology.mininet is not None:
            return {"members": frozenset(), "server": frozenset()}

        def exits(hosts: Collection[str]) -> frozenset[str]:
            nodes = {[host, *topology.routers_of(host)][-1] for host in hosts}
            return frozenset(f"{node}-{topology.attachments()[node][0].on}" for node in nodes)

        return {
            "members": exits(topology.members),
            "server": exits([topology.server] if topology.server is not None else []),
        }
