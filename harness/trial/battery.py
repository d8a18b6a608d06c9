"""The measurements of a trial: the registered probes that the scenario asks for, in their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from harness.errors import OverlayError
from harness.model.probes import Probes, ProbeSettings, Turn
from harness.probes.contract import Found, Measurement, Pair, Probe, Surroundings, Target
from harness.trial.lateness import LatenessMonitor
from harness.trial.live import figure_lines
from harness.trial.underlay import blamed_on_the_lab, carried, is_bare

AnyProbe = Probe[Any, Any]


@dataclass
class Battery:
    """The probes of one trial; `take_turn` waits until this trial may do what it is about to.

    `told` hears a probe's first figures as soon as there are any. `connected` is called once a probe has told whether
    the pairs connect, before the trial ends where they do not.
    """

    asked: Probes
    registered: Mapping[str, AnyProbe]
    surroundings: Surroundings
    lateness_monitor: LatenessMonitor
    take_turn: Callable[[Turn, str], None]
    connected: Callable[[], None]
    told: Callable[[str], None] | None = None
    _over: dict[str, dict[Pair, Any]] = field(default_factory=dict)
    _under: dict[str, dict[Pair, Any]] = field(default_factory=dict)
    _targets: dict[Pair, Target] = field(default_factory=dict)
    _not_run: list[Measurement] = field(default_factory=list)
    _failed: str | None = None

    def over_overlay(self, targets: Sequence[Target]) -> None:
        """Measure everything that is measured while the overlay runs.

        Raises:
            OverlayError: a probe's own program could not reach the peer, or a pair does not connect.
        """
        self._targets = {target.pair: target for target in targets}
        for name, settings in self.asked.items():
            probe = self.registered[name]
            self._not_run += [not_run(probe, target) for target in targets if not probe.needs & target.kinds]
            able = [target for target in targets if probe.needs & target.kinds and self._is_there(probe, target)]
            if not able:
                continue
            self.take_turn(probe.turn, probe.doing)
            self._failed = name
            self._measure(probe, able, settings, self._over.setdefault(name, {}))
            self._failed = None
            if self.told is not None:
                for line in figure_lines(self._figures_of(probe, settings), probe.metrics[0].name):
                    self.told(line)
            if probe.tells_connected:
                self.connected()
            if probe.is_gate:
                for figure in self._figures_of(probe, settings):
                    if figure.outcome == "failed":
                        raise OverlayError(figure.error or f"{figure.metric} of {figure.src} to {figure.dst} failed")

    @property
    def compares(self) -> bool:
        """Whether a probe that has measured the overlay measures the underlay as well."""
        asked = ((self.registered[name], settings, name) for name, settings in self.asked.items())
        return any(self._over.get(name) and probe.over_underlay(settings) for probe, settings, name in asked)

    def over_underlay(self, targets: Sequence[Target]) -> None:
        """Measure the underlay with those probes that compare the overlay with it.

        The last comes first: it holds the turn that it needs already.

        Raises:
            LabNotAsDeclared: it does not carry, so that there is nothing to compare with.
        """
        for name, settings in reversed(list(self.asked.items())):
            probe, measured = self.registered[name], self._over.get(name, {})
            able = [target for target in targets if probe.needs & target.kinds and target.pair in measured]
            if able and probe.over_underlay(settings):
                self._measure_bare(probe, able, settings, self._under.setdefault(name, {}))

    @property
    def may_be_the_labs(self) -> bool:
        """Whether the overlay failed in a probe that measures the underlay as well, which may carry no more."""
        return self._failed is not None and self.registered[self._failed].over_underlay(self._settings_of_failed)

    def look_below(self, targets: Sequence[Target]) -> None:
        """Measure the underlay with the probe that the overlay failed in.

        Raises:
            LabNotAsDeclared: it does not carry either.
        """
        assert self._failed is not None  # see `may_be_the_labs`
        probe = self.registered[self._failed]
        able = [target for target in targets if probe.needs & target.kinds and self._is_there(probe, target)]
        if able:
            self._measure_bare(probe, able, self._settings_of_failed, {})

    @property
    def _settings_of_failed(self) -> ProbeSettings:
        return next(settings for name, settings in self.asked.items() if name == self._failed)

    def _measure_bare(
        self, probe: AnyProbe, targets: Sequence[Target], settings: ProbeSettings, into: dict[Pair, Any]
    ) -> None:
        self.take_turn(probe.turn, f"{probe.doing} over the underlay")
        with blamed_on_the_lab(settings):
            self._measure(probe, targets, settings, into)

    def _is_there(self, probe: AnyProbe, target: Target) -> bool:
        return probe.with_absent or not set(target.pair) & self.surroundings.absent

    def figures(self) -> list[Measurement]:
        """Return all figures, overlay and underlay, and which probe was not run on which pair, and why."""
        figures = list(self._not_run)
        for name, settings in self.asked.items():
            figures += self._figures_of(self.registered[name], settings)
        return figures

    def _measure(
        self, probe: AnyProbe, targets: Sequence[Target], settings: ProbeSettings, into: dict[Pair, Any]
    ) -> None:
        """Measure the targets and keep what is found of each at once: a later pair that fails does not discard it."""
        if probe.at_once:
            together = partial(probe.measure_all, targets, settings, self.surroundings)
            into |= self._judged(probe, _looking(probe, targets, settings, together))
            return
        for target in targets:
            alone = partial(_alone, probe, target, settings, self.surroundings)
            into |= self._judged(probe, _looking(probe, [target], settings, alone))

    def _judged(self, probe: AnyProbe, take: Callable[[], dict[Pair, Any]]) -> dict[Pair, Any]:
        loose = not probe.minds_lateness
        if probe.repeatable:
            return self.lateness_monitor.measure(take, loose=loose, doing=probe.doing)
        with self.lateness_monitor.measured(loose=loose, doing=probe.doing):
            return take()

    def _figures_of(self, probe: AnyProbe, settings: ProbeSettings) -> list[Measurement]:
        found = [
            Found(
                self._targets[pair],
                raw,
                self._under.get(probe.name, {}).get(pair),
                {name: of_pair[pair] for name, of_pair in self._over.items() if pair in of_pair},
            )
            for pair, raw in self._over.get(probe.name, {}).items()
        ]
        figures = [figure for one in found for figure in probe.summarise(one, settings)]
        return [*figures, *(probe.summarise_trial(found, settings) if found else ())]


def _alone(probe: AnyProbe, target: Target, settings: ProbeSettings, surroundings: Surroundings) -> dict[Pair, Any]:
    return {target.pair: probe.measure(target, settings, surroundings)}


def _looking(
    probe: AnyProbe, targets: Sequence[Target], settings: ProbeSettings, take: Callable[[], dict[Pair, Any]]
) -> Callable[[], dict[Pair, Any]]:
    """Return what takes the measurement, and looks whether the bare underlay carries where that is what is measured."""
    if not (probe.repeatable and is_bare(targets[0])):
        return take

    def why_not(found: dict[Pair, Any]) -> str | None:
        said = (probe.why_no_baseline(target, found[target.pair], settings) for target in targets)
        return next((why for why in said if why is not None), None)

    return partial(carried, take, why_not, baseline=targets[0].mode != "underlay")


def not_run(probe: AnyProbe, target: Target) -> Measurement:
    """Return the record that says why a probe was not run on a pair; it bears the probe's first metric."""
    first = probe.metrics[0]
    return Measurement(
        probe=probe.name,
        metric=first.name,
        unit=first.unit,
        value=None,
        src=target.src,
        dst=target.dst,
        outcome="unsupported",
        error=f"{probe.name} measures {_listed(probe.needs)}; here is {_listed(target.kinds) or 'none'} alone",
    )


def _listed(kinds: frozenset[Any]) -> str:
    return " or ".join(sorted(kinds))
