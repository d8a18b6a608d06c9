"""YAML text to plain data plus the line of every field, so that each complaint can name its line. No I/O."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from harness.errors import Problem, ScenarioError

Location = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

_SOURCE_LINE = re.compile(r"#@(\d+)\s*$")


class FieldError(ValueError):
    """What is wrong with one field of a model, seen by a validator of the whole; `at` is the field's place in it."""

    def __init__(self, at: Location, text: str) -> None:
        super().__init__(text)
        self.at = at


@dataclass(frozen=True)
class Document:
    """A parsed YAML document; `lines` maps a field's location to its line in `file`, counted from 1."""

    file: str
    data: Any
    lines: Mapping[Location, int] = field(default_factory=dict)

    def line_of(self, location: Location) -> int:
        """Return the line of a field, or of the nearest enclosing one."""
        for end in range(len(location), -1, -1):
            if location[:end] in self.lines:
                return self.lines[location[:end]]
        return 1

    def problem(self, location: Location, text: str) -> Problem:
        """Return a complaint about one field."""
        return Problem(self.file, self.line_of(location), dotted(location) or "(document)", text)


def dotted(location: Location) -> str:
    """Return `("matrix", "nat_a", 2)` as `matrix.nat_a[2]`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ` (did you mean ...?)` when a known word is close, else the empty string."""
    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {close[0]}?)" if close else ""


def mark_lines(template: str) -> str:
    """Append each line's number as a YAML comment, so that it survives template loops; `parse` reads it back."""
    return "\n".join(
        f"{text} #@{number}" if text.strip() else text for number, text in enumerate(template.split("\n"), 1)
    )


def parse(text: str, file: str, first_line: int = 1) -> Document:
    """Parse one YAML document.

    Args:
        text: the YAML, plain or with the comments of `mark_lines`.
        file: the name that complaints carry.
        first_line: the line of `file` where `text` begins.

    Raises:
        ScenarioError: it is no YAML, or a key stands twice.
    """
    source_lines = [_SOURCE_LINE.search(line) for line in text.split("\n")]

    def line_at(mark: yaml.Mark | None) -> int:
        index = mark.line if mark else 0
        found = source_lines[index] if index < len(source_lines) else None
        return int(found.group(1)) if found else index + first_line

    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        problem = " ".join(filter(None, (error.context, error.problem)))
        where = line_at(error.problem_mark or error.context_mark)
        raise ScenarioError([Problem(file, where, "(syntax)", f"this is not YAML: {problem}")]) from error
    except yaml.YAMLError as error:
        raise ScenarioError([Problem(file, first_line, "(syntax)", f"this is not YAML: {error}")]) from error
    lines: dict[Location, int] = {}
    problems: list[Problem] = []
    loader = yaml.SafeLoader("")

    def build(node: yaml.Node, location: Location) -> Any:
        lines.setdefault(location, line_at(node.start_mark))
        if isinstance(node, yaml.MappingNode):
            loader.flatten_mapping(node)
            made: dict[Any, Any] = {}
            for key_node, value_node in node.value:
                key = loader.construct_object(key_node, deep=True)
                if not isinstance(key, str):
                    key = str(key_node.value)
                here = (*location, key)
                if key in made:
                    problems.append(Problem(file, line_at(key_node.start_mark), dotted(here), "this key appears twice"))
                lines[here] = line_at(key_node.start_mark)
                made[key] = build(value_node, here)
            return made
        if isinstance(node, yaml.SequenceNode):
            return [build(item, (*location, number)) for number, item in enumerate(node.value)]
        return loader.construct_object(node, deep=True)

    data = build(root, ()) if root is not None else None
    if problems:
        raise ScenarioError(problems)
    return Document(file, data, lines)


def validate(model: type[Model], document: Document) -> Model:
    """Build `model` from a document.

    Raises:
        ScenarioError: one problem for each thing that is wrong.
    """
    if not isinstance(document.data, dict):
        raise ScenarioError([document.problem((), f"expected a mapping, got {_kind(document.data)}")])
    try:
        return model.model_validate(document.data)
    except ValidationError as error:
        raise ScenarioError(list(problems_of(error, model, document))) from error


def problems_of(
    error: ValidationError, model: type[BaseModel], document: Document, below: Location = ()
) -> Iterator[Problem]:
    """Yield pydantic's complaints in our form: line, field, and a suggestion for a mistyped key."""
    known = set(_field_names(model))
    seen: set[tuple[int, str]] = set()
    details = error.errors()
    for detail in details:
        if detail["type"] == "too_short" and any(_is_inside(other["loc"], detail["loc"]) for other in details):
            continue  # it is short because its items were refused
        location = _in_document((*below, *detail["loc"], *_place(detail)), document)
        text = _text_of(detail, known)
        if (document.line_of(location), text) not in seen:
            seen.add((document.line_of(location), text))
            yield document.problem(location, text)


def _is_inside(inner: tuple[int | str, ...], outer: tuple[int | str, ...]) -> bool:
    """Tell whether a location lies inside another; either may contain a validator's own part."""
    return len(inner) > len(outer[:-1]) and inner[: len(outer) - 1] == outer[:-1] and inner != outer


def _place(detail: ErrorDetails) -> Location:
    error = detail.get("ctx", {}).get("error")
    return error.at if isinstance(error, FieldError) else ()


def _text_of(detail: ErrorDetails, known: Iterable[str]) -> str:
    name = str(detail["loc"][-1]) if detail["loc"] else ""
    match detail["type"]:
        case "extra_forbidden":
            return f"unknown key{did_you_mean(name, known)}"
        case "missing":
            return "missing"
        case "too_short":
            return "needs at least one value: with none the matrix expands to nothing"
        case "value_error":
            return str(detail["ctx"]["error"])
        case "literal_error":
            expected = detail["ctx"]["expected"]
            hint = did_you_mean(str(detail["input"]), re.findall(r"'([^']+)'", expected))
            return f"expected {expected}, got {detail['input']!r}{hint}"
        case _:
            return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, got {detail['input']!r}"


def _in_document(location: tuple[int | str, ...], document: Document) -> Location:
    """Drop the parts that pydantic adds for unions and validators, and places in a list that the file has not."""
    kept: Location = ()
    for part in location:
        if (*kept, part) in document.lines or (part == location[-1] and isinstance(part, str)):
            kept = (*kept, part)
    return kept


def _field_names(model: type[BaseModel], seen: set[type] | None = None) -> Iterator[str]:
    seen = set() if seen is None else seen
    if model in seen:
        return
    seen.add(model)
    yield from getattr(model, "further_keys", tuple)()  # of a model that learns its keys elsewhere
    for name, info in model.model_fields.items():
        yield info.alias or name
        for inner in _models_in(info.annotation):
            yield from _field_names(inner, seen)


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
