"""The result folder of one run: written as trials end, so that a killed run loses at most the trial in progress."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from harness.errors import OverlaybenchError
from harness.results.files import write_atomically
from harness.results.lines import LineProblem, Lines, OtherSchema, is_terminating, parse_line, read_lines, read_trials
from harness.results.record import Record


class ResultFolderError(OverlaybenchError):
    """The folder is no result folder, is one already, or is being written by another run."""

    exit_code = 2


class RunFolder:
    """A run's result folder.

    A trial's records are appended in one call, the terminating record (probe `trial`, metric `duration_s`) last:
    its line is what makes the trial finished. One process writes at a time; the first `append` takes a lock that
    ends with the process.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.manifest_path = self.path / "manifest.json"
        self.plan_path = self.path / "plan.json"
        self.records_path = self.path / "records.jsonl"
        self.parquet_path = self.path / "records.parquet"
        self.summary_path = self.path / "summary.csv"
        self._file: FileIO | None = None

    def create(self, manifest: Mapping[str, Any], plan: Iterable[Mapping[str, Any]]) -> None:
        """Start a new folder. Raises ResultFolderError when one is there already: results are never overwritten."""
        if self.manifest_path.exists() or self.records_path.exists():
            raise ResultFolderError(
                f"{self.path}: already holds results; continue with --resume, or choose another folder"
            )
        (self.path / "trials").mkdir(parents=True, exist_ok=True)
        write_atomically(self.plan_path, _list_lines(plan))
        write_atomically(self.records_path, b"")
        self.write_manifest(manifest)

    def write_manifest(self, manifest: Mapping[str, Any]) -> None:
        """Replace manifest.json in one step (the end of a run adds what only then is known)."""
        write_atomically(self.manifest_path, (json.dumps(manifest, indent=1, ensure_ascii=False) + "\n").encode())

    def manifest(self) -> dict[str, Any]:
        """Return the manifest. Raises ResultFolderError when it is missing or unreadable."""
        return dict(_read_json(self.manifest_path, dict))

    def plan(self) -> list[dict[str, Any]]:
        """Return the planned trials. Raises ResultFolderError when plan.json is missing or unreadable."""
        return list(_read_json(self.plan_path, list))

    def append(self, records: Sequence[Record]) -> None:
        """Add one trial's records, on the disk when this returns.

        Raises ValueError when the records are not one trial's, ended by its terminating record, or hold a number that
        JSON does not have (NaN, infinity); ResultFolderError when another process writes here.
        """
        self.write([trial_lines(records)])

    def write(self, trials: Iterable[str]) -> None:
        """Add several trials, each as `trial_lines` has made it, as `append` adds one."""
        if self._file is None:
            self._file = self._open()
        _write_all(self._file, "".join(trials).encode())
        os.fsync(self._file.fileno())

    def finished_trials(self) -> set[str]:
        """Return the trials whose terminating record is there; whatever else is planned is still to run."""
        with _lines_in(self.records_path) as lines:
            return {str(trial[0]["trial"]) for trial in read_trials(lines, [])}

    def read(self) -> Lines:
        """Return all records of finished trials, and the lines that do not count."""
        with _lines_in(self.records_path) as lines:
            return read_lines(lines)

    def finish(self) -> list[LineProblem]:
        """Write records.parquet and summary.csv from records.jsonl (again, when they are there).

        Returns the lines that do not count.
        """
        # A campaign starts without waiting for pandas and pyarrow; only its end needs them.
        from harness.results.tabulate import write_tables  # noqa: PLC0415

        problems: list[LineProblem] = []
        repeated: set[str] = set()

        def trials() -> Iterator[list[dict[str, Any]]]:
            problems.clear()
            with _lines_in(self.records_path) as lines:
                yield from read_trials(lines, problems, repeated)

        paths = {"parquet_path": self.parquet_path, "summary_path": self.summary_path}
        write_tables(trials, repeated, problems, records_path=self.records_path, **paths)
        return problems

    def drop_tables(self) -> None:
        """Remove what `finish` writes: tables of the part of a run that was there before are not the run's."""
        self.parquet_path.unlink(missing_ok=True)
        self.summary_path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give up the right to write."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _open(self) -> FileIO:
        file = FileIO(self.records_path, "a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise ResultFolderError(f"{self.path}: another run is writing here") from None
        # What follows the last terminating record is the half of a trial that a killed run left; that trial runs again.
        end, whole = _end_of_last_trial(self.records_path)
        file.truncate(end)
        if not whole:
            _write_all(file, b"\n")
        return file


@contextmanager
def _lines_in(path: Path) -> Iterator[Iterable[bytes]]:
    """Open a file to read its lines; one that is not there has none."""
    if not path.exists():
        yield ()
        return
    with path.open("rb") as file:
        yield file


def trial_lines(records: Sequence[Record]) -> str:
    """Return one trial's lines of records.jsonl. Raises ValueError as `RunFolder.append` does."""
    rows = [record.as_dict() for record in records]
    ends = [index for index, row in enumerate(rows) if is_terminating(row)]
    if len({row["trial"] for row in rows}) != 1 or ends != [len(rows) - 1]:
        raise ValueError("append takes the records of one trial, its trial duration_s record last")
    return "".join(json.dumps(row, allow_nan=False, ensure_ascii=False) + "\n" for row in rows)


def _list_lines(entries: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield a list in JSON, entry by entry, as `json.dumps` with an indent of one writes it."""
    before = "[\n"
    for entry in entries:
        text = json.dumps(entry, indent=1, ensure_ascii=False).replace("\n", "\n ")
        yield f"{before} {text}".encode()
        before = ",\n"
    yield b"[]\n" if before == "[\n" else b"\n]\n"


def _write_all(file: FileIO, data: bytes) -> None:
    """Write all of it at the file's end, or nothing: a disk that fills half-way leaves no half of a line."""
    before = os.fstat(file.fileno()).st_size
    view = memoryview(data)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError:
        file.truncate(before)
        raise


def _end_of_last_trial(path: Path) -> tuple[int, bool]:
    """Return where the last terminating record ends, and whether its newline is there too."""
    end, whole = 0, True
    for offset, line in _lines_with_ends(path):
        try:
            if is_terminating(parse_line(line)):
                end, whole = offset, line.endswith(b"\n")
        except OtherSchema as error:
            raise ResultFolderError(f"{path}: written by another version of overlaybench: {error}") from None
        except ValueError:
            continue
    return end, whole


def _lines_with_ends(path: Path) -> Iterator[tuple[int, bytes]]:
    offset = 0
    with path.open("rb") as file:
        for line in file:
            offset += len(line)
            yield offset, line


def _read_json(path: Path, kind: type) -> Any:
    try:
        data = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ResultFolderError(f"{path.parent}: not a result folder (it has no {path.name})") from None
    except ValueError as error:
        raise ResultFolderError(f"{path}: unreadable: {error}") from None
    if not isinstance(data, kind):
        raise ResultFolderError(f"{path}: holds a {type(data).__name__}, not a {kind.__name__}")
    return data
