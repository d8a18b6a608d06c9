"""A topology file (Jinja2 over YAML) and parameters in, a resolved topology out. Pure: the text is given."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2 import meta

from harness.errors import Problem, ScenarioError
from harness.model.document import Document, did_you_mean, mark_lines, parse, validate
from harness.model.link import LinkProfile, parse_link
from harness.model.nat import NatBehaviour, parse_nat
from harness.model.parameters import BY_MEMBER, Parameter, TopologyHeader
from harness.model.topology import Topology

_SEPARATOR = "\n---\n"


@dataclass(frozen=True)
class TopologyTemplate:
    """A topology file as read: header checked, body not yet rendered."""

    name: str
    file: str
    header: TopologyHeader
    body: str
    lines_before_body: int
    text: str = ""


def read_template(name: str, file: str, text: str) -> TopologyTemplate:
    """Split a topology file into header and body and check the header.

    Raises:
        ScenarioError: the file is no topology, or its body uses a parameter that its header does not declare.
    """
    head, separator, body = text.partition(_SEPARATOR)
    header = validate(TopologyHeader, parse(head, file))
    offset = head.count("\n") + 2
    if not separator:
        raise ScenarioError(
            [Problem(file, offset, "(document)", "a line `---` must end the header and begin the topology")]
        )
    try:
        used = meta.find_undeclared_variables(_environment().parse(body))
    except jinja2.TemplateSyntaxError as error:
        raise ScenarioError([Problem(file, offset + error.lineno, "(template)", str(error.message))]) from error
    problems = [
        Problem(
            file,
            offset + line,
            "(template)",
            f"the header has no parameter {word}{did_you_mean(word, header.parameters)}",
        )
        for word in sorted(used - header.parameters.keys() - {"range"})
        for line in [next((n for n, row in enumerate(body.split("\n"), 1) if word in row), 1)]
    ]
    if problems:
        raise ScenarioError(problems)
    return TopologyTemplate(name, file, header, body, offset, text)


def check_parameters(template: TopologyTemplate, given: Mapping[str, Any]) -> dict[str, str]:
    """Return what is wrong with a set of parameters: name -> complaint; empty when nothing is."""
    declared = template.header.parameters
    wrong = {
        name: f"topology {template.name} has no parameter {name}{did_you_mean(name, declared)}"
        for name in given
        if name not in declared
    }
    for name, parameter in declared.items():
        if name in given:
            try:
                resolve_value(parameter, given[name])
            except ValueError as error:
                wrong[name] = str(error)
        elif parameter.required:
            wrong[name] = f"topology {template.name} needs the parameter {name} ({parameter.type}): {parameter.help}"
    return wrong


def resolve_value(parameter: Parameter, value: Any) -> Any:
    """Return the value as its type wants it.

    Raises:
        ValueError: it is of another type, or no NAT or link of that name exists.
    """
    match parameter.type:
        case "nat":
            return parse_nat(value)
        case "link":
            return parse_link(value)
        case "nats" | "links":
            return _by_member(parameter, value)
        case "int" if isinstance(value, int) and not isinstance(value, bool):
            return value
        case "float" if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        case "str" if isinstance(value, str):
            if parameter.choices and value not in parameter.choices:
                hint = did_you_mean(value, parameter.choices)
                raise ValueError(f"expected one of {', '.join(parameter.choices)}, got {value!r}{hint}")
            return value
        case wanted:
            raise ValueError(f"expected {wanted}, got {value!r}")


def _by_member(parameter: Parameter, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(member, str) for member in value):
        raise ValueError(f"expected a mapping from members to a {BY_MEMBER[parameter.type]} each, got {value!r}")
    one = Parameter(type=BY_MEMBER[parameter.type], required=True)
    found, wrong = {}, []
    for member, of_member in value.items():
        try:
            found[member] = resolve_value(one, of_member)
        except ValueError as error:
            wrong.append(f"{member}: {error}")
    if wrong:
        raise ValueError("; ".join(wrong))
    return found


def with_defaults(template: TopologyTemplate, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters as given, completed by the header's defaults."""
    return {name: given.get(name, parameter.default) for name, parameter in template.header.parameters.items()}


def render(template: TopologyTemplate, given: Mapping[str, Any]) -> Topology:
    """Render the body with the parameters and check the result.

    Raises:
        ScenarioError: a wrong parameter, or a topology that does not hold together; lines are the template's.
    """
    wrong = check_parameters(template, given)
    if wrong:
        raise ScenarioError([Problem(template.file, 1, name, text) for name, text in wrong.items()])
    values = {
        name: _plain(resolve_value(template.header.parameters[name], value))
        for name, value in with_defaults(template, given).items()
    }
    marked = mark_lines(template.body)
    try:
        text = _environment().from_string(marked).render(values)
    except (jinja2.TemplateError, TypeError, ValueError) as error:
        raise ScenarioError([Problem(template.file, template.lines_before_body, "(template)", str(error))]) from error
    parsed = parse(text, template.file)
    moved = {where: line + template.lines_before_body for where, line in parsed.lines.items()}
    topology = validate(Topology, Document(template.file, parsed.data, moved))
    strangers = [
        Problem(template.file, 1, f"{name}.{member}", f"{member} is no member: there are {', '.join(topology.members)}")
        for name, parameter in template.header.parameters.items()
        if parameter.type in BY_MEMBER
        for member in values[name]
        if member not in topology.members
    ]
    if strangers:
        raise ScenarioError(strangers)
    return topology.model_copy(update={"name": template.name})


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(undefined=jinja2.StrictUndefined, finalize=_as_yaml, trim_blocks=False, autoescape=False)
    made.filters["of_ip"] = of_ip
    return made


def of_ip(values: list[str], ip: str) -> list[str]:
    """Return the addresses or networks of a list that are of an IP version: `v4`, `v6`, or `dual` for both."""
    return [value for value in values if ip == "dual" or (":" in value) == (ip == "v6")]


def _as_yaml(value: Any) -> Any:
    """Return values as JSON, which is YAML that no indentation can break."""
    return json.dumps(value) if isinstance(value, dict | list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, NatBehaviour | LinkProfile):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {member: _plain(of_member) for member, of_member in value.items()}
    return value
