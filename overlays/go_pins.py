"""What the go.mod files of `overlays/go` pin."""

from __future__ import annotations

from pathlib import Path


def pinned_version(folder: Path, module: str) -> str:
    """Return the version of `module`, with its v: builds from a module proxy do not know their own.

    Raises:
        StopIteration: go.mod in `folder` does not name it.
    """
    pins = (line.removeprefix("require ").split() for line in (folder / "go.mod").read_text().splitlines())
    return next(words[1] for words in pins if words[:1] == [module])
