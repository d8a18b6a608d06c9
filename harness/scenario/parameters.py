"""A scenario's values of its topology's parameters: what is wrong with them, at which line, and their labels. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import Problem, ScenarioError
from harness.model.document import Location
from harness.model.link import parse_link
from harness.model.nat import parse_nat
from harness.model.parameters import BY_MEMBER, Parameter
from harness.model.probes import declared_probes
from harness.model.topology import Topology
from harness.scenario.loaded import LoadedScenario
from harness.scenario.timelines import swept
from harness.topology.labels import link_label, nat_label
from harness.topology.wiring import impossible_routers


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
        for location, value in _each_member(topology.parameters.get(name), places):
            text = topology.check({**first_of_each, name: value}).get(name)
            # A parameter that the topology lacks is wrong once, not once a value.
            where = location if name in topology.parameters else location[:2]
            if text is not None and (document.line_of(where), text) not in seen:
                seen.add((document.line_of(where), text))
                yield document.problem(where, text.removeprefix(f"{where[-1]}: "))
    yield from _check_probes(loaded)
    for name, text in topology.check(first_of_each).items():
        if name not in given:
            yield document.problem(("topology",), text)


def _check_probes(loaded: LoadedScenario) -> Iterator[Problem]:
    asked, document = dict(loaded.scenario.probes.items()), loaded.document
    for name, settings in asked.items():
        for other in sorted(declared_probes()[name].builds_on - asked.keys()):
            yield document.problem(
                ("probes", name), f"measures nothing without the probe {other}: add that probe as well"
            )
        if settings.baseline_of_cell and "underlay" not in loaded.scenario.overlays:
            yield document.problem(("probes", name, "baseline"), "`cell` needs `underlay` among the overlays")


def _each_member(parameter: Parameter | None, places: Sequence[tuple[Location, Any]]) -> Iterator[tuple[Location, Any]]:
    """Yield each value with its place; of a mapping by member each entry by itself, at its own line."""
    for location, value in places:
        if parameter is not None and parameter.type in BY_MEMBER and isinstance(value, dict) and value:
            yield from (((*location, str(member)), {member: of_member}) for member, of_member in value.items())
        else:
            yield location, value


def parameters_of(loaded: LoadedScenario, cell: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the scenario says of the topology's parameters in a cell, whose other axes are no parameters."""
    events = swept(loaded.scenario)
    return loaded.scenario.params | {name: value for name, value in cell.items() if name not in events}


def place_of(loaded: LoadedScenario, cell: Mapping[str, Any], name: str, member: str | None = None) -> Location:
    """Return where the scenario gives a cell's value of a parameter, or of a parameter's entry for a member."""
    where: Location = ("topology",)
    if name in loaded.scenario.params:
        where = ("params", name)
    elif name in loaded.scenario.matrix:
        where = ("matrix", name, loaded.scenario.matrix[name].index(cell[name]))
    elif name in cell:
        where = ("pairs", "values")
    return where if member is None else (*where, member)


def impossible(loaded: LoadedScenario, cell: Mapping[str, Any], topology: Topology) -> Iterator[Problem]:
    """Yield a problem for each router of a cell that lacks what its behaviour needs, at the parameter that says it."""
    for name, reason in impossible_routers(topology):
        behind = {member for member in topology.members if name in topology.routers_of(member)}
        where: Location = ("topology",)
        for parameter, value in parameters_of(loaded, cell).items():
            kind = loaded.topology.parameters[parameter].type
            if kind == "nat" and parse_nat(value) == topology.routers[name].nat:
                where = place_of(loaded, cell, parameter)
            for member in sorted(behind & value.keys()) if kind == "nats" else ():
                where = place_of(loaded, cell, parameter, member)
        yield loaded.document.problem(where, f"router {name}: {reason}")


def resolve(loaded: LoadedScenario, cell: Mapping[str, Any], added: Mapping[str, Any]) -> Topology:
    """Return a cell's topology, with what the plan has `added` to its parameters.

    Raises:
        ScenarioError: it does not hold together, or has no member that a parameter names; complaints that are of no
            single parameter name all that were given.
    """
    params = {**parameters_of(loaded, cell), **added}
    try:
        return loaded.topology.resolve(params)
    except ScenarioError as error:
        given = ", ".join(f"{name}: {text_of(value)}" for name, value in params.items())
        problems = []
        for problem in error.problems:
            name, _, member = problem.field.partition(".")
            if name in params and name not in added and member:
                problems.append(loaded.document.problem(place_of(loaded, cell, name, member), problem.text))
            else:
                text = f"with {given or 'its defaults'}: {problem}"
                problems.append(loaded.document.problem(("topology",), text))
        raise ScenarioError(problems) from error


def labels(parameters: Mapping[str, Parameter], params: Mapping[str, Any], topology: Topology) -> dict[str, str | None]:
    """Return `nat_a`, `nat_b` and `link` of a trial; of more than two members only a NAT that all have is the trial's.

    NATs are those in front of the members, whatever parameters are called and whether there are any; so are links where
    the topology has no parameter for them. What is in front of each member stands in the records of its pairs.
    """
    links = {name: parse_link(params[name]).label for name, p in parameters.items() if p.type == "link"}
    named = [f"{name.removeprefix('link_')}={label}" for name, label in links.items()]
    for name in (name for name, p in parameters.items() if p.type == "links"):
        named += [f"{member}={parse_link(value).label}" for member, value in params.get(name, {}).items()]
    ideal = all(text.endswith("=ideal") for text in named)
    own = [nat_label(topology, member) for member in topology.members]
    pair = own if len(own) == 2 else own[:1] * 2 if len(set(own)) == 1 else [None, None]
    link: str | None = "ideal" if ideal else " ".join(named)
    if not links:
        fixed = {member: link_label(topology, member) for member in topology.members}
        given = [f"{member}={label}" for member, label in fixed.items() if label != "ideal"]
        link = " ".join(given) or None
    return {**dict(zip(("nat_a", "nat_b"), pair, strict=True)), "link": link}


def text_of(value: Any) -> str:
    """Return a value as `--only` and IDs of trials have it."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
