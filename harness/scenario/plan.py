"""From a scenario to its trials: cells, seeds, order. Pure and repeatable: scenario and seed determine the plan."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from harness.errors import Problem, ScenarioError
from harness.model.document import did_you_mean
from harness.model.scenario import Scenario
from harness.model.topology import Topology
from harness.model.trial import Trial
from harness.model.words import Mode
from harness.scenario.captured import unknown_nodes
from harness.scenario.expecting import Oracle, expected_of, matches
from harness.scenario.helpers import HELPERS, with_helpers, without_helpers
from harness.scenario.loaded import LoadedScenario
from harness.scenario.parameters import check, impossible, labels, parameters_of, resolve, text_of
from harness.scenario.timelines import problems_of, swept, timeline_of


def expand(
    loaded: LoadedScenario,
    oracle: Oracle | None = None,
    helpers: Callable[[str, Mode], int] = lambda _overlay, _mode: 0,
) -> list[Trial]:
    """Return all trials of a scenario, in the order in which they run.

    `oracle` says which verdicts are right for each pair of a trial's members, where the scenario leaves it to it;
    `helpers` says how many public nodes an overlay needs in a mode besides the server.

    Within a repeat the order is random (seeded): a machine that drifts then disturbs all overlays alike.

    Raises:
        ScenarioError: parameters do not fit the topology, a router has too few addresses, or a cell stands twice.
    """
    scenario = loaded.scenario
    problems = list(check(loaded))
    if problems:
        raise ScenarioError(problems)
    cells = list(_cells(scenario))
    overlays = [(name, mode, use.options) for name, use in scenario.overlays.items() for mode in use.modes]
    trials: list[Trial] = []
    wanted = {(name, mode): helpers(name, mode) for name, mode, _ in overlays}
    problems = list(without_helpers(loaded, wanted))
    if problems:
        raise ScenarioError(problems)
    resolved = {
        count: [resolve(loaded, cell, with_helpers(loaded, cell, count)) for cell in cells]
        for count in {0, *wanted.values()}
    }
    found = [p for cell, topology in zip(cells, resolved[0], strict=True) for p in impossible(loaded, cell, topology)]
    for number, cell in enumerate(cells):
        # Helpers are nodes as well, and who has them may lose them.
        for count in sorted(set(wanted.values())):
            found += problems_of(loaded, cell, resolved[count][number])
        found += unknown_nodes(loaded, resolved[0][number])
    problems = list(dict.fromkeys(found))
    if problems:
        raise ScenarioError(problems)
    for repeat in range(1, scenario.repeats + 1):
        block = [
            _trial(loaded, cell, resolved[wanted[overlay[:2]]][number], overlay, repeat, oracle)
            for (number, cell), overlay in itertools.product(enumerate(cells), overlays)
        ]
        random.Random(f"{scenario.seed}/{repeat}").shuffle(block)
        if any(settings.baseline_of_cell for settings in scenario.probes.named()):
            block.sort(key=lambda trial: trial.mode != "underlay")  # the others need its figures
        trials += block
    seen = Counter(trial.id for trial in trials)
    twice = sorted(name for name, count in seen.items() if count > 1)
    if twice:
        raise ScenarioError([loaded.document.problem(("matrix",), f"the same cell appears twice: {twice[0]}")])
    return trials


def _cells(scenario: Scenario) -> Iterator[dict[str, Any]]:
    axes: list[list[dict[str, Any]]] = [[{name: value} for value in values] for name, values in scenario.matrix.items()]
    if scenario.pairs is not None:
        first, second = scenario.pairs.parameters
        values = scenario.pairs.values
        combine = (
            itertools.combinations_with_replacement(values, 2)
            if scenario.pairs.order == "unordered"
            else itertools.product(values, repeat=2)
        )
        axes.append([{first: one, second: other} for one, other in combine])
    axes += [[{name: value} for value in values] for name, values in swept(scenario).items()]
    for choice in itertools.product(*axes):
        yield {name: value for part in choice for name, value in part.items()}


def _trial(  # noqa: PLR0917
    loaded: LoadedScenario,
    cell: Mapping[str, Any],
    topology: Topology,
    overlay: tuple[str, Mode, dict[str, Any]],
    repeat: int,
    oracle: Oracle | None,
) -> Trial:
    scenario = loaded.scenario
    name, mode, options = overlay
    given = parameters_of(loaded, cell)
    # What the plan itself adds is no condition: all overlays of a cell have the same parameters.
    params = {k: v for k, v in loaded.topology.complete(given).items() if k in given or (k != HELPERS and v != {})}
    params |= {name: cell[name] for name in swept(scenario)}
    key = json.dumps([loaded.name, dict(cell), repeat, scenario.seed], sort_keys=True, default=str)
    named = labels(loaded.topology.parameters, params, topology)
    trial = Trial(
        id=_slug([name, *([] if mode == name else [mode]), *(text_of(value) for value in cell.values()), f"r{repeat}"]),
        scenario=loaded.name,
        repeat=repeat,
        seed=int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big"),
        overlay=name,
        mode=mode,
        options=options,
        topology=topology,
        params=params,
        probes=scenario.probes,
        timeline=timeline_of(scenario, cell),
        links=scenario.links,
        captures=scenario.captures,
        nat_a=named["nat_a"],
        nat_b=named["nat_b"],
        link=named["link"],
    )
    return trial.model_copy(update=expected_of(scenario.expect, trial, oracle))


def select(trials: Sequence[Trial], only: Mapping[str, Sequence[str]], file: str) -> list[Trial]:
    """Return the trials that `--only KEY=VALUE` leaves; several values of one key mean any of them.

    Raises:
        ScenarioError: no trial has such a key, or none is left.
    """
    keys = trials[0].selectors.keys()
    unknown = [key for key in only if key not in keys]
    if unknown:
        raise ScenarioError(
            [Problem(file, 0, "--only", f"no such key {key}{did_you_mean(key, keys)}") for key in unknown]
        )
    left = [trial for trial in trials if all(matches({key: list(values)}, trial) for key, values in only.items())]
    if not left:
        raise ScenarioError(
            [Problem(file, 0, "--only", f"no trial has {json.dumps({k: list(v) for k, v in only.items()})}")]
        )
    return left


def _slug(parts: Sequence[str]) -> str:
    """Return a readable folder name; parts that do not fit or are no plain words become a short hash of themselves."""
    words = []
    for part in parts:
        plain = re.fullmatch(r"[A-Za-z0-9._+-]{1,24}", part)
        words.append(part if plain else hashlib.sha256(part.encode()).hexdigest()[:8])
    return "_".join(words)
