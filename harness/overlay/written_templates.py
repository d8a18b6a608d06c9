"""The templates of an adapter written as YAML, checked before any is rendered: their syntax, and what they name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Final

import jinja2
from jinja2 import meta

from harness.errors import Problem
from harness.model.document import Document, Location, did_you_mean

_EVERYWHERE: Final = frozenset({"mode", "options", "members", "helpers", "server", "token", "folder"})
_KNOWN: Final = {
    "programs": frozenset({"folder"}),
    "endpoints": _EVERYWHERE | {"node"},
    "streams": _EVERYWHERE | {"src", "dst"},
    "contents": _EVERYWHERE | {"src", "dst"},
}
REPEATED: Final = ("files", "prepare", "services", "setup")
# Names, choices and regular expressions, in which braces are just braces.
_NO_TEMPLATES: Final = frozenset(
    {"on", "each", "modes", "log", "says", "identifier", "version_pattern", "install", "debian"}
)


@cache
def environment() -> jinja2.Environment:
    """Return what templates are rendered by: what is not known is an error, and the end of a file is kept."""
    return jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)


def template_problems(document: Document) -> Iterator[Problem]:
    """Yield templates that are none, and names in them that stand for nothing there."""
    for section, known in _KNOWN.items():
        yield from _below(document, (section,), document.data.get(section), known)
    for section in REPEATED:
        for number, entry in enumerate(document.data.get(section) or ()):
            yield from _below(document, (section, number), entry, _EVERYWHERE | {"node", str(entry.get("each"))})


def _below(document: Document, where: Location, value: Any, known: frozenset[str]) -> Iterator[Problem]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key not in _NO_TEMPLATES:
                yield from _below(document, (*where, key), inner, known)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _below(document, (*where, number), inner, known)
    elif isinstance(value, str):
        yield from _of_text(document, where, value, known)


def _of_text(document: Document, where: Location, text: str, known: frozenset[str]) -> Iterator[Problem]:
    try:
        parsed = environment().parse(text)
    except jinja2.TemplateSyntaxError as error:
        yield _at_row(document, where, text, error.lineno, f"this is no template: {error.message}")
        return
    for word in sorted(meta.find_undeclared_variables(parsed) - known - environment().globals.keys()):
        row = next((number for number, line in enumerate(text.split("\n"), 1) if word in line), 1)
        hint = did_you_mean(word, known) or f"; there is {', '.join(sorted(known))}"
        yield _at_row(document, where, text, row, f"`{word}` stands for nothing here{hint}")


def _at_row(document: Document, where: Location, text: str, row: int, said: str) -> Problem:
    """Return a complaint about a row of a text; one of several rows begins in the line after its key."""
    problem = document.problem(where, said)
    below = row if "\n" in text else 0
    return Problem(problem.file, problem.line + below, problem.field, problem.text)
