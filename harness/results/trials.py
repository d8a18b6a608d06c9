"""One row per trial with what the tables and plots need: its cell, its outcome, its path and its main metrics."""

from __future__ import annotations

import numpy as np
import pandas as pd

from harness.results.cells import CONDITION, cells, counted_values
from harness.results.statistics import as_floats

# A trial with several pairs of members succeeds when all of them do, and carries what its worst way does; other metrics
# are means over pairs and ways.
_SMALLEST = ("connect_success", "hole_punch_success", "offered_mtu_bytes", "path_mtu_bytes")
_LARGEST = ("pmtu_black_hole",)
MAIN = (
    *("connect_success", "hole_punch_success", "time_to_connect_s", "time_to_direct_s", "time_to_ready_s"),
    *("rtt_p50_ms", "rtt_p99_ms", "added_rtt_p50_ms", "loss_ratio", "underlay_rtt_p50_ms", "owd_p50_ms", "pdv_p99_ms"),
    *("loaded_rtt_p50_ms", "loaded_rtt_p95_ms", "rtt_rise_p50_ms", "loaded_loss_ratio"),
    *("tcp_throughput_mbit", "tcp_throughput_ratio", "underlay_tcp_throughput_mbit", "tcp_throughput_both_mbit"),
    *("udp_goodput_mbit", "offered_mtu_bytes", "path_mtu_bytes", "pmtu_black_hole"),
    *("underlay_bytes_per_byte", "underlay_packets_per_mb", "server_bytes_per_byte", "cpu_s_per_gb", "rss_mib"),
    *("fixed_overhead_s", "link_lateness_p99_us", "duration_s"),
)
# These tell of the instrument, not of the subject: those of invalid trials are what one wants to see.
_INSTRUMENT = ("fixed_overhead_s", "link_lateness_p99_us", "duration_s")


def trials_frame(records: pd.DataFrame) -> pd.DataFrame:
    """One row per trial: its cell's condition, repeat, seed, outcome, error, path, path_claimed and `MAIN`'s values.

    A value is NaN where nothing counted and inf where it was censored; figures of the instrument itself (lateness,
    duration) are there for all trials. `deadline_s` is that bound, NaN where unknown.
    """
    frame = cells(records)
    measured = as_floats(frame["value"].to_numpy(dtype=np.float64, na_value=np.nan))
    frame["value"] = np.where(frame["metric"].isin(_INSTRUMENT), measured, counted_values(frame))
    ends = frame[(frame["probe"] == "trial") & (frame["metric"] == "duration_s")]
    names = ["trial", *CONDITION, "repeat", "seed", "outcome", "error", "nat_a_observed", "nat_b_observed"]
    table = ends[names].set_index("trial").copy()
    paths = frame[frame["metric"] == "connect_success"].groupby("trial", sort=False)
    for name in ("path", "path_claimed"):
        table[name] = paths[name].agg(_one_path).astype(object).reindex(table.index)
        table[name] = table[name].where(table[name].notna(), "")
    bounds = records.loc[frame["probe"] == "path", ["trial", "params"]].drop_duplicates("trial").set_index("trial")
    deadlines = bounds["params"].astype(str).str.extract(r'"deadline_s":([0-9.]+)')[0].astype(float)
    table["deadline_s"] = deadlines.reindex(table.index)
    kept = frame[frame["metric"].isin(MAIN) & frame["value"].notna()]
    grouped = kept.groupby(["trial", "metric"], sort=False)["value"]
    values = grouped.mean().unstack("metric")
    for names_of, worst in ((_SMALLEST, grouped.min()), (_LARGEST, grouped.max())):
        for metric in values.columns.intersection(list(names_of)):
            values[metric] = worst.unstack("metric")[metric]
    for metric in MAIN:
        table[metric] = values[metric].reindex(table.index) if metric in values else np.nan
    table = table.reset_index()
    return table.astype({name: "str" for name in table.columns if not pd.api.types.is_numeric_dtype(table[name])})


def _one_path(paths: pd.Series) -> str:
    seen = {path for path in paths if isinstance(path, str) and path}
    return seen.pop() if len(seen) == 1 else "mixed" if seen else ""
