"""Whole runs of made-up records, as a frame and as a folder."""

from pathlib import Path

import pandas as pd
from result_samples import Maker

from harness.results.frame import records_frame
from harness.results.store import RunFolder


def frame_of(maker: Maker | None = None, repeats: int = 1) -> pd.DataFrame:
    trials = (maker or Maker()).campaign(repeats)
    return records_frame([record.as_dict() for trial in trials for record in trial])


def folder_of(path: Path, repeats: int = 2, without: frozenset[str] = frozenset(), **settings: float) -> RunFolder:
    """Return a run's folder, without the probes that a test has no use for: each plot takes a quarter of a second."""
    folder = RunFolder(path)
    folder.create({"schema": 1, "scenario": "demo", "started_at": "2026-11-23T12:00:00+00:00"}, [])
    for trial in Maker(**settings).campaign(repeats):  # type: ignore[arg-type]
        folder.append([record for record in trial if record.probe not in without])
    folder.close()
    return folder
