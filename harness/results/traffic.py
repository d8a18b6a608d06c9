"""Reads the traffic that ran through timelines from the evidence of a run."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from harness.results.samples import inside

COLUMNS = {"trial": "str", "src": "str", "dst": "str", "flow": "str", "sent_s": "float64", "rtt_ms": "float64"}


def traffic_of(run_dir: Path, records: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return a row per question: trial, src, dst, flow, sent_s (since the traffic began), rtt_ms (NaN: lost), way.

    From the evidence of the metric's records; what is missing or unreadable gives no rows, and a path that leads out of
    the run's folder is not followed.
    """
    rows = records[(records["metric"] == metric) & records["evidence"].notna()]
    rows = rows.drop_duplicates(["trial", "src", "dst", "evidence"])
    parts = []
    for trial, src, dst, evidence in zip(rows["trial"], rows["src"], rows["dst"], rows["evidence"], strict=True):
        path = inside(run_dir, str(evidence))
        if path is None or path.suffix != ".csv":
            continue
        try:
            part = pd.read_csv(path, dtype={"flow": "str", "sent_s": "float64", "rtt_ms": "float64", "way": "str"})
            part = part[["flow", "sent_s", "rtt_ms", "way"]]
        except (OSError, ValueError, KeyError):
            continue
        parts.append(part.assign(trial=trial, src=src, dst=dst, way=part["way"].fillna("")))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*COLUMNS, "way"])
