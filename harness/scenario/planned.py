"""From a scenario's name to its trials: loaded, checked, expanded, with the overlays that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

from pydantic import ValidationError

from harness.errors import Problem, ScenarioError
from harness.model.document import problems_of
from harness.model.trial import Trial
from harness.overlay.collisions import in_range, too_many
from harness.overlay.contract import HasNetwork, HasOptions, Overlay
from harness.overlay.named_file import NamedFile
from harness.overlay.registry import load_overlay, overlay_names
from harness.overlay.support import helpers_of, why_unsupported
from harness.results.metrics import METRICS
from harness.scenario.expected import expected_verdicts
from harness.scenario.expecting import never_judged, suggested, unmeasured
from harness.scenario.load import load_scenario
from harness.scenario.loaded import LoadedScenario
from harness.scenario.named_files import unrendered, with_named_files
from harness.scenario.plan import expand, select
from harness.scenario.timelines import unmet
from harness.scenario.traces import find_traces


@dataclass(frozen=True)
class Planned:
    """A scenario's trials in the order in which they run, and the overlays that they are about.

    `files` are those of overlays that are named by their file, by the overlay's name.
    """

    loaded: LoadedScenario
    trials: list[Trial]
    overlays: dict[str, Overlay]
    files: dict[str, NamedFile] = field(default_factory=dict)


def plan_trials(
    name: str,
    only: Mapping[str, Sequence[str]] | None = None,
    repeat: int | None = None,
    seed: int | None = None,
) -> Planned:
    """Load, check and expand a scenario; `only` selects trials, `repeat` and `seed` replace the scenario's.

    Raises:
        ScenarioError: everything that is wrong with it.
    """
    loaded = load_scenario(name, overlay_names())
    changes: dict[str, Any] = {"repeats": repeat, "seed": seed}
    changes = {key: value for key, value in changes.items() if value is not None}
    loaded = replace(loaded, scenario=loaded.scenario.model_copy(update=changes))
    loaded, files = with_named_files(loaded)
    overlays = {name: files[name].overlay if name in files else load_overlay(name) for name in loaded.scenario.overlays}
    if wrong := list(_wrong_options(loaded, overlays)):
        raise ScenarioError(wrong)
    trials = expand(
        loaded,
        lambda trial: expected_verdicts(trial, overlays[trial.overlay]),
        lambda name, mode: helpers_of(overlays[name], mode),
    )
    found = (_misfits, _refused, unmet)
    problems = list(unrendered(trials, files))
    if problems:
        raise ScenarioError(problems)
    problems = [problem for look in found for problem in look(loaded, trials, overlays)]
    try:
        trials = find_traces(trials, loaded.folders)
    except ScenarioError as error:
        problems += error.problems
    if problems:
        raise ScenarioError(problems)
    if only:
        trials = select(trials, only, loaded.document.file)
    named = {trial.overlay for trial in trials}
    return Planned(
        loaded,
        trials,
        {name: overlay for name, overlay in overlays.items() if name in named},
        {name: file for name, file in files.items() if name in named},
    )


def _wrong_options(loaded: LoadedScenario, overlays: Mapping[str, Overlay]) -> Iterator[Problem]:
    """Yield what the overlays' models say of their options."""
    for name, use in loaded.scenario.overlays.items():
        adapter = overlays[name]
        if isinstance(adapter, HasOptions):
            try:
                adapter.options.model_validate(use.options)
            except ValidationError as error:
                yield from problems_of(error, adapter.options, loaded.document, ("overlays", name, "options"))


def _refused(loaded: LoadedScenario, trials: Sequence[Trial], overlays: Mapping[str, Overlay]) -> Iterator[Problem]:
    """Yield what overlays without such a model say of the options that they were given, rendering a trial."""
    for name, use in loaded.scenario.overlays.items():
        adapter = overlays[name]
        if not use.options or isinstance(adapter, HasOptions):
            continue
        mine = (one for one in trials if one.overlay == name and why_unsupported(one, adapter) is None)
        try:
            for trial in islice(mine, 1):
                adapter.render(trial)
        except ValueError as error:
            yield loaded.document.problem(("overlays", name, "options"), str(error))


def _misfits(loaded: LoadedScenario, trials: Sequence[Trial], overlays: Mapping[str, Overlay]) -> list[Problem]:
    how = "" if trials[0].topology.mininet is None else "; `topology: {use: ..., server: HOST}` makes a host the server"
    problems = [
        loaded.document.problem(
            ("overlays", overlay), f"{overlay} needs a server, and topology {loaded.topology.name} has none{how}"
        )
        for overlay, adapter in overlays.items()
        if adapter.needs_server and trials[0].topology.server is None
    ]
    problems += _collisions(loaded, trials, overlays)
    until = loaded.scenario.until
    if until is not None and until.metric not in METRICS:
        text = f"unknown metric{suggested(until.metric)}"
        problems.append(loaded.document.problem(("until", "metric"), text))
    elif until is not None and (why := unmeasured(until.metric, loaded)) is not None:
        problems.append(loaded.document.problem(("until", "metric"), f"{until.metric} {why}"))
    return [*problems, *never_judged(loaded, trials)]


def _collisions(loaded: LoadedScenario, trials: Sequence[Trial], overlays: Mapping[str, Overlay]) -> Iterator[Problem]:
    """Yield overlays with too few addresses, or whose members' the underlay has: a host would answer itself."""
    for name, overlay in overlays.items():
        topologies = [trial.topology for trial in trials if trial.overlay == name and trial.repeat == 1]
        for text in dict.fromkeys(text for one in topologies if (text := too_many(overlay, one)) is not None):
            yield loaded.document.problem(("overlays", name), text)
        found = dict.fromkeys(text for one in topologies for text in in_range(overlay, one))
        if isinstance(overlay, HasNetwork) and found:
            text = f"{name} gives its members addresses of {overlay.network}, but {', '.join(found)}"
            yield loaded.document.problem(
                ("overlays", name), f"{text}: packets to that address would never leave the host"
            )
