"""Reads population files; every mistake with file, line and field."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.errors import Problem, ScenarioError
from harness.model.document import Document, Location, did_you_mean, parse, validate
from harness.scenario.load import shown_path
from harness.simulation.contract import engines
from harness.simulation.population import Population


@dataclass(frozen=True)
class LoadedPopulation:
    """A population with its source; `text` goes into the manifest."""

    name: str
    population: Population
    document: Document
    text: str


def load_population(name: str, folder: Path) -> LoadedPopulation:
    """Return a population file by path or by its name in `folder`.

    Raises:
        ScenarioError: all that is wrong with it.
    """
    path = Path(name) if Path(name).is_file() else folder / f"{name}.yaml"
    if not path.is_file():
        known = sorted(each.stem for each in folder.glob("*.yaml"))
        hint = did_you_mean(name, known) or f" (bundled: {', '.join(known)})"
        raise ScenarioError([Problem(name, 0, "population", f"no such file, and no bundled one of that name{hint}")])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError([Problem(shown_path(path), 0, "(file)", f"cannot be read: {error}")]) from error
    document = parse(text, shown_path(path))
    population = validate(Population, document)
    known = list(engines())
    if population.engine not in known:
        text = f"there is no simulated engine of that name{did_you_mean(population.engine, known)}: {', '.join(known)}"
        raise ScenarioError([document.problem(("engine",), text)])
    able = engines()[population.engine].techniques
    named: list[tuple[Location, str]] = [(("matrix", "technique"), each) for each in population.matrix.technique]
    named += [(("matrix", "also", at, "technique"), each.technique) for at, each in enumerate(population.matrix.also)]
    if unable := [(where, technique) for where, technique in named if technique not in able]:
        text = f"{population.engine} cannot be held to {{}}: {', '.join(able)}"
        raise ScenarioError([document.problem(where, text.format(technique)) for where, technique in unable])
    return LoadedPopulation(path.stem, population, document, text)
