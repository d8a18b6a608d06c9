"""Result folders: written, read, summarised and compared. `load(DIR)` is the way in."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.results.loading import Results


def load(run_dir: Path | str) -> Results:
    """Load a result folder as pandas frames; see `harness.results.loading.load`."""
    # Workers import the record from this package and must not wait for pandas.
    from harness.results.loading import load as load_folder  # noqa: PLC0415

    return load_folder(run_dir)
