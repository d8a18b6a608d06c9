"""Whether the cells of a run that is there are those of another population, whose shares alone differ."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import ScenarioError
from harness.model.document import parse, validate
from harness.results.store import ResultFolderError, RunFolder
from harness.simulation.load import LoadedPopulation
from harness.simulation.population import Population

_OF_WORLDS = ("engine", "deadline_s", "apart_s", "server", "crypto")


def require_same_cells(loaded: LoadedPopulation, folder: Path) -> None:
    """Refuse a folder whose worlds are other ones than the population's.

    Raises:
        ScenarioError: what differs besides shares, sources and numbers of worlds.
        ResultFolderError: it is no folder of a simulation.
    """
    manifest = RunFolder(folder).manifest()
    if manifest.get("engine") != "simulated":
        raise ResultFolderError(f"{folder}: not the folder of a simulation")
    document = parse(str(manifest["scenario_text"]), str(manifest["scenario_file"]))
    if differs := list(_differences(validate(Population, document), loaded.population)):
        raise ScenarioError(
            [loaded.document.problem(tuple(field.split(".")), f"{text}, not so in {folder}") for field, text in differs]
        )


def _differences(there: Population, here: Population) -> Iterator[tuple[str, str]]:
    for name in _OF_WORLDS:
        if getattr(there, name) != getattr(here, name):
            yield name, "is another"
    for name, access in here.access.items():
        if name not in there.access:
            yield f"access.{name}", "a type of access of its own"
        elif _cell_of(there.access[name]) != _cell_of(access):
            yield f"access.{name}", "other routers, link or IPv6"
    has = set(there.matrix.levels)
    for name in ("technique", "port_mapping", "ipv6"):
        known = {getattr(level, name) for level in has}
        if missing := {getattr(level, name) for level in here.matrix.levels} - known:
            yield f"matrix.{name}", f"{', '.join(sorted(map(str, missing)))}"
            has |= set(here.matrix.levels)
    for level in here.matrix.levels:
        if level not in has:
            words = ", ".join(f"{name}: {value}" for name, value in level)
            yield f"matrix.{'also' if level in here.matrix.also else 'technique'}", words


def _cell_of(access: Any) -> tuple[Any, ...]:
    layers = access.together.layers if access.together is not None else 0
    return access.behaviours, access.link, access.ipv6, layers
