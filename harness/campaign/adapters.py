"""The files of overlays that are named by their file, kept in the run's folder: a run says itself what it deployed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from harness.overlay.named_file import NamedFile

FOLDER: Final = "adapters"


def keep_adapters(files: Mapping[str, NamedFile], run_folder: Path) -> dict[str, dict[str, str]]:
    """Copy the files into the run's folder; return what the manifest says of them, by the overlay's name."""
    for file in files.values():
        copy = run_folder / FOLDER / _copied(file)
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(file.text, encoding="utf-8")
    return {
        name: {"file": str(file.path), "copy": f"{FOLDER}/{_copied(file)}", "sha256": file.sha256}
        for name, file in files.items()
    }


def changed_adapters(manifest: Mapping[str, Any], files: Mapping[str, NamedFile]) -> list[str]:
    """Return which files are not what they were when the run began, one phrase each."""
    before = manifest.get("adapters", {})
    return [
        f"the content of {file.path}, the overlay {name}"
        for name, file in files.items()
        if name in before and before[name]["sha256"] != file.sha256
    ]


def _copied(file: NamedFile) -> str:
    return f"{file.sha256[:12]}-{file.path.name}"
