"""The raw evidence that plots need beyond the records."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

DTYPES = {"trial": "str", "src": "str", "dst": "str", "seq": "int64", "sent_s": "float64", "rtt_ms": "float64"}


def latency_samples(run_dir: Path, records: pd.DataFrame, metric: str = "rtt_p50_ms") -> pd.DataFrame:
    """Return all samples behind a metric, one row a probe packet; a lost one has rtt_ms NaN.

    Evidence that is missing or unreadable gives no rows: the records' percentiles are still there. A path that leads
    out of the run's folder is not followed: results may come from other people.
    """
    rows = records[(records["metric"] == metric) & records["evidence"].notna()]
    parts = []
    for trial, src, dst, evidence in zip(rows["trial"], rows["src"], rows["dst"], rows["evidence"], strict=True):
        path = inside(run_dir, str(evidence))
        if path is None or path.suffix != ".csv":
            continue
        try:
            samples = pd.read_csv(path, usecols=["seq", "sent_s", "rtt_ms"], dtype={"rtt_ms": "float64"})
        except (OSError, ValueError):
            continue
        samples["sent_s"] -= samples["sent_s"].min()
        parts.append(samples.assign(trial=trial, src=src, dst=dst)[list(DTYPES)])
    if not parts:
        return pd.DataFrame(columns=list(DTYPES)).astype(DTYPES)
    return pd.concat(parts, ignore_index=True)


def inside(run_dir: Path, evidence: str) -> Path | None:
    """Return the evidence file when it lies in the run's folder and is there, else None."""
    root = run_dir.resolve()
    path = (root / evidence).resolve()
    return path if path.is_relative_to(root) and path.is_file() else None
