"""From a scenario to its trials: cells, seeds, order. Pure and repeatable: scenario and seed determine the plan."""

from __future__ import annotations

import hashlib
import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from harness.errors import Problem, ScenarioError
from harness.model.document import Location, did_you_mean
from harness.model.link import parse_link
from harness.model.nat import parse_nat
from harness.model.parameters import Parameter
from harness.model.scenario import Expectation, Mode, Scenario
from harness.model.topology import Topology
from harness.model.trial import Trial
from harness.scenario.helpers import HELPERS, with_helpers, without_helpers
from harness.scenario.loaded import LoadedScenario
from harness.scenario.timelines import problems_of, swept, timeline_of
from harness.topology.wiring import impossible_routers


def expand(
    loaded: LoadedScenario,
    oracle: Callable[[Trial], tuple[str, ...]] | None = None,
    helpers: Callable[[str, Mode], int] = lambda _overlay, _mode: 0,
) -> list[Trial]:
    """Return all trials of a scenario, in the order in which they run.

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
    events = swept(scenario)
    resolved = {
        count: [
            _resolve(loaded, {**scenario.params, **_without(cell, events), **with_helpers(loaded, cell, count)})
            for cell in cells
        ]
        for count in {0, *wanted.values()}
    }
    found = [p for cell, topology in zip(cells, resolved[0], strict=True) for p in _impossible(loaded, cell, topology)]
    found += [problem for topology in resolved[0] for problem in problems_of(loaded, topology)]
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
        raise ScenarioError([loaded.document.problem(("matrix",), f"a cell stands twice: {twice[0]}")])
    return trials


def _impossible(loaded: LoadedScenario, cell: Mapping[str, Any], topology: Topology) -> Iterator[Problem]:
    """Yield a problem for each router of a cell that lacks what its behaviour needs, at the parameter that says it."""
    for name, reason in impossible_routers(topology):
        where: Location = ("topology",)
        for parameter, value in {**loaded.scenario.params, **_without(cell, swept(loaded.scenario))}.items():
            if loaded.topology.parameters[parameter].type == "nat" and parse_nat(value) == topology.routers[name].nat:
                places = (("params", parameter), ("matrix", parameter), ("pairs", "values"))
                where = places[0 if parameter not in cell else 1 if parameter in loaded.scenario.matrix else 2]
        yield loaded.document.problem(where, f"router {name}: {reason}")


def _resolve(loaded: LoadedScenario, params: Mapping[str, Any]) -> Topology:
    """Return a cell's topology; its complaints name the parameters as well, which may be what is wrong."""
    try:
        return loaded.topology.resolve(params)
    except ScenarioError as error:
        given = ", ".join(f"{name}: {_text(value)}" for name, value in params.items())
        raise ScenarioError(
            [loaded.document.problem(("topology",), f"with {given or 'its defaults'}: {p}") for p in error.problems]
        ) from error


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


def _without(cell: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Return a cell without the axes that are no parameters of the topology."""
    return {name: value for name, value in cell.items() if name not in names}


def check(loaded: LoadedScenario) -> Iterator[Problem]:
    """Yield everything about a scenario's parameters that does not fit its topology."""
    scenario, document, topology = loaded.scenario, loaded.document, loaded.topology
    given: dict[str, list[tuple[Location, Any]]] = {
        name: [(("params", name), value)] for name, value in scenario.params.items()
    }
    for name, values in scenario.matrix.items():
        if name in given:
            yield document.problem(("matrix", name), f"{name} is fixed in params already")
        given.setdefault(name, []).extend((("matrix", name, i), value) for i, value in enumerate(values))
    if scenario.pairs is not None:
        for place, name in enumerate(scenario.pairs.parameters):
            if name in scenario.params or name in scenario.matrix:
                yield document.problem(("pairs", "parameters", place), f"{name} is given in params or matrix already")
            given.setdefault(name, []).extend((("pairs", "values", i), v) for i, v in enumerate(scenario.pairs.values))
    first_of_each = {name: values[0][1] for name, values in given.items() if values}
    seen: set[tuple[int, str]] = set()
    for name, places in given.items():
        for location, value in places:
            text = topology.check({**first_of_each, name: value}).get(name)
            # A parameter that the topology lacks is wrong once, not once a value.
            where = location if name in topology.parameters else location[:2]
            if text is not None and (document.line_of(where), text) not in seen:
                seen.add((document.line_of(where), text))
                yield document.problem(where, text)
    for name, settings in scenario.probes.items():
        if settings.baseline_of_cell and "underlay" not in scenario.overlays:
            yield document.problem(("probes", name, "baseline"), "`cell` needs `underlay` among the overlays")
    for name, text in topology.check(first_of_each).items():
        if name not in given:
            yield document.problem(("topology",), text)


def _trial(  # noqa: PLR0917
    loaded: LoadedScenario,
    cell: Mapping[str, Any],
    topology: Topology,
    overlay: tuple[str, Mode, dict[str, Any]],
    repeat: int,
    oracle: Callable[[Trial], tuple[str, ...]] | None,
) -> Trial:
    scenario = loaded.scenario
    name, mode, options = overlay
    events = swept(scenario)
    given = {**scenario.params, **_without(cell, events)}
    # What the plan itself adds is no condition: all overlays of a cell have the same parameters.
    params = {k: v for k, v in loaded.topology.complete(given).items() if k != HELPERS or k in given}
    params |= {name: cell[name] for name in events}
    key = json.dumps([loaded.name, dict(cell), repeat, scenario.seed], sort_keys=True, default=str)
    labels = _labels(loaded.topology.parameters, params)
    trial = Trial(
        id=_slug([name, *([] if mode == name else [mode]), *(_text(value) for value in cell.values()), f"r{repeat}"]),
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
        nat_a=labels["nat_a"],
        nat_b=labels["nat_b"],
        link=labels["link"],
    )
    matching = [rule for rule in scenario.expect if matches(rule.when, trial)]
    return trial.model_copy(
        update={
            "expected_path": _expected_path(matching, trial, oracle),
            "expected_outcome": tuple(outcome for rule in matching for outcome in rule.outcome),
        }
    )


def _expected_path(
    rules: Sequence[Expectation], trial: Trial, oracle: Callable[[Trial], tuple[str, ...]] | None
) -> tuple[str, ...]:
    """Return the last rule's path, among those that say one: general rules come first, exceptions after."""
    for rule in reversed(rules):
        if rule.path:
            return rule.path
        if rule.oracle and oracle is not None:
            return oracle(trial)
    return ()


def matches(when: Mapping[str, Any], trial: Trial) -> bool:
    """Tell whether a trial's cell has all these values; a list means any of them."""
    for key, wanted in when.items():
        value = trial.cell.get(key)
        choices = wanted if isinstance(wanted, list | tuple) else [wanted]
        if not any(value == choice or _text(value) == _text(choice) for choice in choices):
            return False
    return True


def select(trials: Sequence[Trial], only: Mapping[str, Sequence[str]], file: str) -> list[Trial]:
    """Return the trials that `--only KEY=VALUE` leaves; several values of one key mean any of them.

    Raises:
        ScenarioError: no trial has such a key, or none is left.
    """
    keys = trials[0].cell.keys()
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


def _labels(parameters: Mapping[str, Parameter], params: Mapping[str, Any]) -> dict[str, str | None]:
    nats = {name: parse_nat(params[name]).label for name, p in parameters.items() if p.type == "nat"}
    links = {name: parse_link(params[name]).label for name, p in parameters.items() if p.type == "link"}
    shared = nats.get("nat")
    named = [f"{name.removeprefix('link_')}={label}" for name, label in links.items()]
    return {
        "nat_a": nats.get("nat_a", shared),
        "nat_b": nats.get("nat_b", shared),
        "link": ("ideal" if set(links.values()) == {"ideal"} else " ".join(named)) if links else None,
    }


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _slug(parts: Sequence[str]) -> str:
    """Return a readable folder name; parts that do not fit or are no plain words become a short hash of themselves."""
    words = []
    for part in parts:
        plain = re.fullmatch(r"[A-Za-z0-9._+-]{1,24}", part)
        words.append(part if plain else hashlib.sha256(part.encode()).hexdigest()[:8])
    return "_".join(words)
