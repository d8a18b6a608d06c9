"""Overlays that a scenario names by their files: loaded, called by their own names from then on, and tried once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from harness.errors import Problem, ScenarioError
from harness.model.scenario import OverlayUse
from harness.model.trial import Trial
from harness.overlay.named_file import NamedFile, load_named_file, names_a_file, raised
from harness.overlay.support import why_unsupported
from harness.scenario.loaded import LoadedScenario


def with_named_files(loaded: LoadedScenario) -> tuple[LoadedScenario, dict[str, NamedFile]]:
    """Return the scenario with every overlay under its own name, and the files of those that are named by one.

    Relative names start at the working directory, else at the scenario's folder.

    Raises:
        ScenarioError: a file cannot be loaded, or two overlays of the scenario have one name.
    """
    files: dict[str, NamedFile] = {}
    uses: dict[str, OverlayUse] = {}
    lines = dict(loaded.document.lines)
    problems: list[Problem] = []
    for given, use in loaded.scenario.overlays.items():
        name = given
        if names_a_file(given):
            try:
                file = load_named_file(given, loaded.folders[0])
            except ScenarioError as error:
                problems += _placed(error.problems, loaded, given)
                continue
            name = file.overlay.name
            files[name] = file
            lines |= {("overlays", name, *at[2:]): row for at, row in lines.items() if at[:2] == ("overlays", given)}
        if name in uses:
            problems.append(
                loaded.document.problem(("overlays", given), f"another overlay here is named {name} as well")
            )
        uses[name] = use
    if problems:
        raise ScenarioError(problems)
    if not files:
        return loaded, files
    document = replace(loaded.document, lines=lines)
    scenario = loaded.scenario.model_copy(update={"overlays": uses})
    return replace(loaded, document=document, scenario=scenario), files


def unrendered(trials: Sequence[Trial], files: Mapping[str, NamedFile]) -> Iterator[Problem]:
    """Yield why files of overlays cannot render a trial, trying one of every mode: better now than in every trial."""
    seen: set[Problem] = set()
    for name, file in files.items():
        of_mode = {trial.mode: trial for trial in reversed(trials) if trial.overlay == name}
        for trial in of_mode.values():
            without_server = file.overlay.needs_server and trial.topology.server is None
            if without_server or why_unsupported(trial, file.overlay) is not None:
                continue  # told as such
            try:
                file.overlay.render(trial)
            except ScenarioError as error:
                yield from (problem for problem in error.problems if problem not in seen)
                seen |= set(error.problems)
            except Exception as error:  # somebody else's code
                if not (trial.options and isinstance(error, ValueError)):  # told as a wrong option
                    yield raised(file.path, f"render ({trial.mode})", error)


def _placed(problems: Sequence[Problem], loaded: LoadedScenario, given: str) -> Iterator[Problem]:
    """Yield problems without a line, of a file that is not there, with the line that names it."""
    for problem in problems:
        yield problem if problem.line else loaded.document.problem(("overlays", given), problem.text)
