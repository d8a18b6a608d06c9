"""Extensions found by entry point: overlays, probes, events, kinds of hosts, engines. Those from outside are as good.

One file and one line of registration add one. Nothing is loaded before it is asked for, so that an extension's module
may import any room of the harness.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final

from harness.errors import MissingPrerequisite

_SEE: Final = "see CONTRIBUTING.md"


@cache
def registered(group: str) -> dict[str, EntryPoint]:
    """Return the entry points of a group by name.

    Raises:
        MissingPrerequisite: there is none, because this program's own package was installed before it had any.
    """
    points = {point.name: point for point in entry_points(group=group)}
    if not points:
        raise MissingPrerequisite(f"the entry points of {group}", "make setup, or pip install -e .")
    return points


def extensions(group: str, contract: type = object) -> dict[str, Any]:
    """Return one instance of each class that a group registers, ordered by their `order`, if any, then by name.

    They are the same ones each time.

    Raises:
        MissingPrerequisite: see `load`.
    """
    return {name: _offering(contract, made, registered(group)[name]) for name, made in _all(group).items()}


@cache
def _all(group: str) -> dict[str, Any]:
    made = {name: load(point) for name, point in registered(group).items()}
    return dict(sorted(made.items(), key=lambda item: (getattr(item[1], "order", 0), item[0])))


def load(point: EntryPoint, contract: type = object) -> Any:
    """Return a new instance of the class that an entry point names.

    Raises:
        MissingPrerequisite: it cannot be imported or made, whatever it raises; it has a name of its own that is not the
            registered one; it is no `contract`. One line, which names the package.
    """
    try:
        made = point.load()()
    except (Exception, SystemExit) as error:
        kind = "" if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: "
        said = f"{_what(point)} cannot be loaded: {kind}{' '.join(str(error).split())}"
        package = "overlaybench" if point.dist is None else point.dist.name
        what = "-e ." if package == "overlaybench" else f"--upgrade {package}"
        raise MissingPrerequisite(said, f"pip install {what}") from error
    if getattr(made, "name", None) != point.name:
        raise MissingPrerequisite(f"{_what(point)} is not named {point.name!r}", _SEE)
    if not isinstance(getattr(made, "order", 0), int):
        raise MissingPrerequisite(f"{_what(point)}: its `order` is no whole number", _SEE)
    return _offering(contract, made, point)


def _offering(contract: type, made: Any, point: EntryPoint) -> Any:
    if not isinstance(made, contract):
        raise MissingPrerequisite(f"{_what(point)} does not offer the contract", _SEE)
    return made


def _what(point: EntryPoint) -> str:
    package = "" if point.dist is None else f" of the package {point.dist.name} {point.dist.version}"
    return f"{point.group.removeprefix('overlaybench.')}: {point.name}: {point.value}{package}"
