"""Reads a run: its records, and its evidence from `trials/` or, in a published folder, from `evidence.tar.xz`."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from functools import cached_property
from pathlib import Path
from typing import Any

Key = tuple[str, str | None, str | None]
"""A metric, and the pair that it is of, if it is of one."""


class Run:
    """A result folder, as somebody reads it who knows results/README.md and nothing of the program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @cached_property
    def records(self) -> list[dict[str, Any]]:
        """The lines of records.jsonl, or the rows of records.parquet where a published folder has that alone."""
        lines = self.folder / "records.jsonl"
        if lines.exists():
            return [json.loads(line) for line in lines.read_text().splitlines()]
        import pyarrow.parquet as pq  # noqa: PLC0415  # a file format; nothing is computed by it

        rows = pq.read_table(self.folder / "records.parquet").to_pylist()
        return [row | {"params": json.loads(row["params"])} for row in rows]

    @cached_property
    def _archive(self) -> dict[str, bytes]:
        path = self.folder / "evidence.tar.xz"
        if not path.exists():
            return {}
        with tarfile.open(path) as archive:
            return {one.name: archive.extractfile(one).read() for one in archive if one.isfile()}  # type: ignore[union-attr]

    def read(self, name: str) -> bytes | None:
        """Return a piece of evidence by its path relative to the folder; None: it is not there."""
        path = self.folder / name
        return path.read_bytes() if path.is_file() else self._archive.get(name)

    def json(self, name: str) -> Any:
        """Return the same as JSON; None: it is not there."""
        data = self.read(name)
        return None if data is None else json.loads(data)

    def samples(self, name: str) -> list[dict[str, float | None]] | None:
        """Return the rows of a CSV of numbers, empty fields None; None: it is not there."""
        data = self.read(name)
        if data is None:
            return None
        rows = csv.DictReader(io.StringIO(data.decode()))
        return [{key: float(value) if value else None for key, value in row.items()} for row in rows]
