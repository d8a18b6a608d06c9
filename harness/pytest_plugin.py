"""pytest collects scenario files that have `expect:`, one test per cell; JUnit XML, -k and -x work as ever.

A file's selected cells run together in one `overlaybench run` when the first of them is due, side by side as usual;
each test then judges its own cell. Under pytest-xdist each cell runs for itself: workers do not share a result folder.
Nothing of the harness is imported before a scenario file is met, so that other people's test runs do not pay for this.
"""

from __future__ import annotations

import datetime
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from harness.model.trial import Trial

_EXPECTS = re.compile(r"^expect:", re.MULTILINE)
_OVERLAYS = re.compile(r"^overlays:", re.MULTILINE)
_LOG_LINES = 15
_OUT = pytest.StashKey[Path]()


class CellFailed(Exception):
    """A cell did not come out as expected; the text says how, and where the evidence is."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the plugin's options."""
    group = parser.getgroup("overlaybench")
    group.addoption("--overlaybench-only", action="store_true", help="Collect scenario files alone, no Python tests.")
    group.addoption(
        "--overlaybench-out", metavar="DIR", help="Result folders go below DIR (default: runs/pytest-TIME)."
    )
    group.addoption("--overlaybench-repeat", metavar="N", type=int, help="Repeats of every cell.")


def pytest_configure(config: pytest.Config) -> None:
    """Make one folder for all result folders of a session."""
    given = config.getoption("overlaybench_out", None)
    config.stash[_OUT] = Path(given) if given else Path("runs") / f"pytest-{datetime.datetime.now():%Y%m%d-%H%M%S}"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Pass over everything that is no YAML file, with --overlaybench-only."""
    if config.getoption("overlaybench_only") and collection_path.is_file() and not _is_yaml(collection_path):
        return True
    return None


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a scenario file with `expect:` as a group of tests."""
    if not _is_yaml(file_path):
        return None
    try:
        text = file_path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return None
    if _EXPECTS.search(text) and _OVERLAYS.search(text):
        collector: pytest.Collector = ScenarioFile.from_parent(parent, path=file_path)
        return collector
    return None


class ScenarioFile(pytest.File):
    """One scenario; its cells are its tests."""

    ran: Run | None = None

    def collect(self) -> Iterator[pytest.Item]:
        """Yield a test per cell with expectations, all its repeats together."""
        from harness.errors import OverlaybenchError  # noqa: PLC0415
        from harness.scenario.planned import plan_trials  # noqa: PLC0415

        try:
            trials = plan_trials(str(self.path), repeat=self.config.getoption("overlaybench_repeat")).trials
        except OverlaybenchError as error:
            raise self.CollectError(str(error)) from None
        from harness.results.expectations import Expected  # noqa: PLC0415

        cells: dict[str, list[Trial]] = {}
        for trial in trials:
            expected = Expected.of(trial)
            if expected.anything:
                cells.setdefault(expected.cell_id, []).append(trial)
        for name in sorted(cells):
            yield Cell.from_parent(self, name=name, trials=cells[name])
        if not cells:
            yield NothingExpected.from_parent(self, name="expects-nothing", trials=len(trials))

    def run_of(self, cell: Cell) -> Run:
        """Return the run that this cell is part of; the first cell starts it."""
        if hasattr(self.config, "workerinput"):
            return Run(self, [cell])
        if self.ran is None:
            mine = [item for item in self.session.items if isinstance(item, Cell) and item.parent is self]
            self.ran = Run(self, mine)
        return self.ran


class Run:
    """One `overlaybench run` of some cells of a file."""

    def __init__(self, file: ScenarioFile, cells: list[Cell]) -> None:
        from harness.results.store import RunFolder  # noqa: PLC0415

        base = file.config.stash[_OUT]
        name = file.path.stem if len(cells) != 1 else f"{file.path.stem}-{cells[0].name}"
        self.folder = _new_folder(base, name)
        trials = [trial.id for cell in cells for trial in cell.trials]
        argv = [sys.executable, "-c", "from harness.cli import main; main()", "run", str(file.path)]
        argv += ["--out", str(self.folder), *(word for trial in trials for word in ("--only", f"trial={trial}"))]
        if repeat := file.config.getoption("overlaybench_repeat"):
            argv += ["--repeat", str(repeat)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        self.status, self.said = done.returncode, done.stderr
        self.records: dict[str, list[dict[str, Any]]] = {}
        for record in RunFolder(self.folder).read().records:
            self.records.setdefault(record["trial"], []).append(record)


class Cell(pytest.Item):
    """One cell of a scenario: it passes when every repeat came out as the scenario expects."""

    def __init__(self, *, trials: list[Trial], **rest: Any) -> None:
        super().__init__(**rest)
        self.trials = trials
        # The first cell waits for the whole file's run, which has deadlines of its own.
        if self.config.pluginmanager.hasplugin("timeout"):
            self.add_marker(pytest.mark.timeout(0))

    def runtest(self) -> None:
        """Run the file's cells unless that has been done, then judge this one."""
        from harness.results.expectations import Expected  # noqa: PLC0415
        from harness.results.run_judgement import judge_run  # noqa: PLC0415

        assert isinstance(self.parent, ScenarioFile)
        run = self.parent.run_of(self)
        complaints = []
        for trial in self.trials:
            evidence = run.folder / "trials" / trial.id
            self.user_properties.append(("evidence", str(evidence)))
            rows = run.records.get(trial.id)
            if rows is None:
                complaints.append(f"{trial.id} never ran (status {run.status}):\n{_end(run.said)}")
                continue
            self.user_properties.append(("outcome", rows[-1]["outcome"]))
            found = judge_run([Expected.of(trial)], rows)
            if said := [*found.complaints, *found.invalid, *found.errors]:
                complaints.append("\n".join([*dict.fromkeys(said), f"evidence: {evidence}", *_logs(evidence)]))
        complaints += self._judge_numbers(run)
        if complaints:
            raise CellFailed("\n\n".join(complaints))

    def _judge_numbers(self, run: Run) -> list[str]:
        """Return which numbers all repeats together broke; each number is a property of the test, met or not."""
        from harness.results.expectations import Expected  # noqa: PLC0415
        from harness.results.judging import figures_of, judge_cells  # noqa: PLC0415

        rows = {trial.id: run.records.get(trial.id, []) for trial in self.trials}
        figures = figures_of([row for of_trial in rows.values() for row in of_trial])
        self.user_properties += [(name, f"{value:.6g}") for name, value in figures.items()]
        judged = judge_cells(map(Expected.of, self.trials), rows)
        for one in judged:
            self.user_properties.append((f"expected {one.bound.metric}", f"{one.judgement}: {one.text}"))
            if one.judgement == "not decided":
                self.warn(pytest.PytestWarning(f"not decided: {one.text}"))
        return [f"{one.judgement}: {one.text}" for one in judged if one.is_broken]

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Return the complaint alone: a traceback of this plugin would help no reader."""
        if isinstance(excinfo.value, CellFailed):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return where the test is, for reports: a warning needs a line, and a cell has none of its own."""
        return self.path, 0, self.name


class NothingExpected(pytest.Item):
    """A scenario that says `expect:` and expects nothing of any trial: shown as skipped, not passed over."""

    def __init__(self, *, trials: int, **rest: Any) -> None:
        super().__init__(**rest)
        self.trials = trials

    def runtest(self) -> None:
        """Do nothing."""
        pytest.skip(f"nothing is judged: `expect` says nothing of any of its {self.trials} trials")

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Return where the test is, for reports: a warning needs a line, and a cell has none of its own."""
        return self.path, 0, self.name


def _is_yaml(path: Path) -> bool:
    return path.suffix in {".yaml", ".yml"}


def _new_folder(base: Path, name: str) -> Path:
    number, folder = 1, base / name
    while folder.exists():
        number += 1
        folder = base / f"{name}-{number}"
    return folder


def _end(text: str) -> str:
    return "\n".join(text.splitlines()[-_LOG_LINES:])


def _logs(folder: Path) -> list[str]:
    """Return the ends of the logs that say anything, a few of them."""
    logs = [path for path in sorted(folder.rglob("*.log")) if path.stat().st_size]
    return [f"--- {path.name}\n{_end(path.read_text(errors='replace'))}" for path in logs[:4]]
