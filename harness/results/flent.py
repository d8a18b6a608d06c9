"""Export to Flent's data format, so that its plotters and its users' scripts can be pointed at our samples.

Format: `doc/data-format.rst` of Flent: gzipped JSON with `version`, `metadata`, `x_values`, `results` and `raw_values`.
Written is what the fourth version of that format asks for; data sets carry the names of Flent's own `rrul` and `tcp`
tests where they mean the same.
"""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pandas as pd

from harness.results.loading import Results

FORMAT_VERSION = 4
STEP_S = 0.05
_PING = "Ping (ms) ICMP"


def export(results: Results, folder: Path) -> list[Path]:
    """Write a .flent.gz for each trial and pair with latency samples, another under load; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    trials = results.trials.set_index("trial")
    paths = []
    for test, all_samples in (("ping", results.rtt_samples), ("ping-loaded", results.loaded_rtt_samples)):
        pairs = all_samples[["src", "dst"]].drop_duplicates()
        for (trial, src, dst), samples in all_samples.groupby(["trial", "src", "dst"], sort=True, observed=True):
            name = str(trial) if len(pairs) == 1 else f"{trial}-{src}-{dst}"
            path = folder / f"{test}-{name}.flent.gz"
            data = flent_data(samples, trials.loc[str(trial)], results.manifest, path.name)
            with gzip.open(path, "wt", encoding="utf-8", compresslevel=6) as file:
                json.dump(data, file, allow_nan=False)
            paths.append(path)
    return paths


def flent_data(samples: pd.DataFrame, trial: Any, manifest: dict[str, Any], file_name: str) -> dict[str, Any]:
    """Return one pair's samples of a trial as Flent's data: binned at `STEP_S` as Flent does, with the raw values."""
    moment = pd.to_datetime(manifest.get("started_at", "1970-01-01T00:00:00Z"), utc=True)
    zero = moment.timestamp()
    answered = samples.dropna(subset="rtt_ms")
    length = float(samples["sent_s"].max()) if len(samples) else 0.0
    bins = (answered["sent_s"] / STEP_S).astype(int)
    means = answered.groupby(bins)["rtt_ms"].mean()
    steps = range(math.floor(length / STEP_S) + 1)
    loaded = ", TCP in both directions meanwhile" if file_name.startswith("ping-loaded") else ""
    name = f"{trial['overlay']} {trial['mode']}, {trial['nat_a']} x {trial['nat_b']}{loaded}"
    stamp = moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {
        "version": FORMAT_VERSION,
        "metadata": {
            "NAME": "ping",
            "DATA_FILENAME": file_name,
            "TITLE": name,
            "TIME": stamp,
            "T0": stamp,
            "HOST": str(samples["dst"].iloc[0]),
            "HOSTS": [str(samples["dst"].iloc[0])],
            "LOCAL_HOST": str(samples["src"].iloc[0]),
            "LENGTH": round(length),
            "TOTAL_LENGTH": round(length),
            "STEP_SIZE": STEP_S,
            "IP_VERSION": 6 if json.loads(trial["params"]).get("ip") == "v6" else 4,
            "NOTE": f"overlaybench trial {trial.name}: {trial['outcome']}, path {trial['path'] or 'not measured'}",
            "FLENT_VERSION": "overlaybench export",
            "SERIES_META": {_PING: {"MEAN_VALUE": _plain(answered["rtt_ms"].mean()), "UNITS": "ms"}},
        },
        "x_values": [round(step * STEP_S, 6) for step in steps],
        "results": {_PING: [_plain(means.get(step)) for step in steps]},
        "raw_values": {
            _PING: [
                {"t": zero + sent, "val": rtt, "seq": seq}
                for seq, sent, rtt in zip(answered["seq"], answered["sent_s"], answered["rtt_ms"], strict=True)
            ]
        },
    }


def _plain(value: Any) -> float | None:
    return None if value is None or math.isnan(value) else float(value)
