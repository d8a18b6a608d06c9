"""What a trial left in its folder: listed for links, and the ends of its texts set into the page within a budget."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

# Together with plots and tables the page stays below 5 MB.
BUDGET_BYTES = 1_500_000
_PER_FILE_BYTES = 4_000
_LARGEST_READ = 50_000_000
_TEXT = frozenset({".log", ".txt", ".conf", ".cfg", ".nft", ".yaml", ".yml", ".toml", ".ovpn", ".csv", ""})
_MOST_FILES = 60


@dataclass(frozen=True)
class File:
    """A piece of evidence: its link relative to the page, its size, and the end of it when it is set in."""

    name: str
    href: str
    size_bytes: int
    text: str | None = None
    cut: bool = False


class Evidence:
    """The trial folders' files; texts are included until the budget is spent, after that files are only listed.

    `linked`: the page can lead to them. If not, they have no links.
    """

    def __init__(
        self, run_dir: Path, budget_bytes: int = BUDGET_BYTES, *, page_dir: Path | None = None, linked: bool = True
    ) -> None:
        self.linked = linked
        self._root = run_dir.resolve()
        self._page = self._root if page_dir is None else page_dir.resolve()
        self._left = budget_bytes

    def of(self, trial: str, *, with_text: bool) -> list[File]:
        """Return the files of one trial, logs first. An ID that leads out of the folder has none."""
        folder = (self._root / "trials" / trial).resolve()
        if not folder.is_relative_to(self._root / "trials") or not folder.is_dir():
            return []
        paths = sorted(self._files(folder), key=lambda path: (path.suffix != ".log", str(path)))
        return [self._file(path, folder, with_text) for path in paths[:_MOST_FILES]]

    def _files(self, folder: Path) -> Iterable[Path]:
        return (path for path in folder.rglob("*") if path.is_file() and path.resolve().is_relative_to(self._root))

    def _file(self, path: Path, folder: Path, with_text: bool) -> File:
        size = path.stat().st_size
        href = quote(os.path.relpath(path, self._page)) if self.linked else ""
        text = None
        if with_text and path.suffix in _TEXT and 0 < size < _LARGEST_READ and self._left > 0:
            with path.open("rb") as file:
                file.seek(max(0, size - _PER_FILE_BYTES))
                text = file.read(_PER_FILE_BYTES).decode("utf-8", errors="replace")
            if "PRIVATE KEY-----" in text:
                text = None  # of no use to a reader, and an alarm to whatever scans pages for keys
            else:
                self._left -= len(text)
        return File(str(path.relative_to(folder)), href, size, text, size > _PER_FILE_BYTES)
