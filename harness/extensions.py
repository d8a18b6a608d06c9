"""Extensions found by entry point: probes, events, kinds of hosts and engines; one from outside is as good as ours.

One file and one line of registration add one. Nothing is loaded before it is asked for, so that an extension's module
may import any room of the harness.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from harness.errors import MissingPrerequisite


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


@cache
def extensions(group: str) -> dict[str, Any]:
    """Return one instance of each class that a group registers, ordered by their `order`, if any, then by name.

    Raises:
        MissingPrerequisite: a package is installed but cannot be imported, lacks the class, or has it under a name of
            its own that is not the registered one.
    """
    made = {name: _instance(point) for name, point in registered(group).items()}
    return dict(sorted(made.items(), key=lambda item: (getattr(item[1], "order", 0), item[0])))


def _instance(point: EntryPoint) -> Any:
    what = f"{point.group.removeprefix('overlaybench.')}: {point.name}: {point.value}"
    try:
        made = point.load()()
    except (ImportError, AttributeError) as error:
        raise MissingPrerequisite(f"{what} cannot be loaded: {error}", "pip install -e .") from error
    if getattr(made, "name", None) != point.name:
        raise MissingPrerequisite(f"{what} is not named {point.name!r}", "see CONTRIBUTING.md")
    if not isinstance(getattr(made, "order", 0), int):
        raise MissingPrerequisite(f"{what}: its `order` is no whole number", "see CONTRIBUTING.md")
    return made
