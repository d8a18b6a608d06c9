"""Loading of scenario and topology files; all checks that need no file are in `model` and `plan`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import harness
from harness.errors import Problem, ScenarioError
from harness.model.document import Document, did_you_mean, parse, validate
from harness.model.scenario import Scenario
from harness.model.template import read_template
from harness.overlay.named_file import names_a_file
from harness.scenario.loaded import LoadedScenario
from harness.scenario.parameters import check
from harness.topology.mininet_class import MininetSource
from harness.topology.source import TemplateSource, TopologySource

_ROOT = Path(harness.__file__).resolve().parent.parent
SCENARIOS = _ROOT / "scenarios"
POPULATIONS = SCENARIOS / "populations"
TOPOLOGIES = _ROOT / "topologies"


def bundled(folder: Path) -> list[str]:
    """Return the names of the files that come with the program."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def find(name: str, folder: Path, kind: str, also_in: Path | None = None) -> Path:
    """Find a file by its path, as given or relative to `also_in`, or by its bundled name.

    Raises:
        ScenarioError: there is no such file and no bundled one of that name.
    """
    supplied = folder / f"{name}.yaml"
    for place in [Path(name), *([also_in / name] if also_in else [])]:
        try:
            if place.is_file():
                return place
        except PermissionError:  # a bundled name is found also where the present folder is another user's
            if not supplied.is_file():
                raise
    if supplied.is_file():
        return supplied
    hint = did_you_mean(name, bundled(folder)) or f" (bundled: {', '.join(bundled(folder))})"
    raise ScenarioError([Problem(name, 0, kind, f"no such file, and no bundled {kind} of that name{hint}")])


def load_topology(name: str, also_in: Path | None = None) -> TemplateSource:
    """Load a topology file by path or bundled name."""
    path = find(name, TOPOLOGIES, "topology", also_in)
    return TemplateSource(read_template(path.stem, shown_path(path), _read(path)), path.parent)


def load_scenario(name: str, overlays: Iterable[str]) -> LoadedScenario:
    """Load a scenario file by path or bundled name, checked against the topologies and overlays that exist.

    Raises:
        ScenarioError: everything that is wrong with the file, in one go.
    """
    path = find(name, SCENARIOS, "scenario")
    text = _read(path)
    document = parse(text, shown_path(path))
    problems: list[Problem] = []
    scenario: Scenario | None = None
    try:
        scenario = validate(Scenario, document)
    except ScenarioError as error:
        problems += error.problems
    problems += _unknown_overlays(document, list(overlays))
    readable = scenario or _what_is_right(document)
    source: TopologySource | None = None
    try:
        source = _topology_of(document, readable, path.parent)
    except ScenarioError as error:
        problems += error.problems
    if scenario is None and readable is not None and source is not None:
        problems += check(LoadedScenario(path.stem, readable, document, text, source))
    if problems or scenario is None or source is None:
        raise ScenarioError(sorted(problems, key=lambda problem: (problem.file, problem.line)))
    folders = [path.parent, *([source.folder] if isinstance(source, TemplateSource) else [])]
    return LoadedScenario(path.stem, scenario, document, text, source, tuple(dict.fromkeys(folders)))


def _what_is_right(document: Document) -> Scenario | None:
    """Return a wrong scenario with its wrong parts left out, so that the rest is checked in the same go."""
    if not isinstance(document.data, dict):
        return None
    kept: dict[str, Any] = {"description": "", "overlays": {"underlay": None}, "probes": ["path"]}
    for key in ("topology", "params", "matrix", "pairs"):
        if key in document.data:
            with contextlib.suppress(ValidationError):
                Scenario.model_validate({"topology": "", **kept, key: document.data[key]})
                kept[key] = document.data[key]
    return Scenario.model_validate(kept) if "topology" in kept else None


def _unknown_overlays(document: Document, known: list[str]) -> Iterable[Problem]:
    named = document.data.get("overlays") if isinstance(document.data, dict) else None
    for name in named if isinstance(named, dict) else ():
        if name not in known and not names_a_file(name):
            yield document.problem(("overlays", name), f"unknown overlay{did_you_mean(name, known)}")


def _topology_of(document: Document, scenario: Scenario | None, also_in: Path) -> TopologySource | None:
    if scenario is None:
        return None
    use = scenario.topology
    try:
        if use.is_mininet_class:
            return MininetSource(use.use, use.members, use.server, str(also_in.resolve()))
        if use.members or use.server:
            raise ScenarioError(
                [document.problem(("topology",), "a topology file names its members and server itself")]
            )
        return load_topology(use.use, also_in)
    except ScenarioError as error:
        raise ScenarioError(
            [document.problem(("topology",), p.text) if p.line == 0 else p for p in error.problems]
        ) from error


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError([Problem(str(path), 0, "(file)", f"cannot be read: {error}")]) from error


def shown_path(path: Path) -> str:
    """Return the path as the user would type it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
