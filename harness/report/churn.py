"""What a report says of networks over time: reach, the servers' load, what members send, the storm after a death."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from harness.report.plots.figure import Plot
from harness.report.plots.style import COLOURS
from harness.report.tables import NOTHING, TextTable
from harness.results.store import ResultFolderError

FILE = "churn.csv"
QUIET_AFTER_S = 60.0
"""Everybody has found everybody by then; what is sent later is upkeep and churn."""


def read_churn(folder: Path) -> pd.DataFrame | None:
    """Return the samples with their rates; None where there are none.

    Raises:
        ResultFolderError: churn.csv cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        frame = pd.read_csv(path)
        frame["seconds"] = frame.groupby("network")["at_s"].diff().fillna(frame["at_s"])
        frame["server_messages_per_s"] = frame["server_messages"] / frame["seconds"]
        frame["server_kbit_per_s"] = frame["server_bytes"] * 8e-3 / frame["seconds"]
        members = frame["members_up"].clip(lower=1)
        frame["member_messages_per_s"] = frame["member_messages"] / frame["seconds"] / members
        frame["member_bytes_per_s"] = frame["member_bytes"] / frame["seconds"] / members
    except (OSError, ValueError, KeyError) as error:
        raise ResultFolderError(f"{path}: unreadable: {error}") from None
    return frame


def churn_table(frame: pd.DataFrame) -> TextTable:
    """Return the figures of all networks together."""
    quiet = frame[(frame["at_s"] > QUIET_AFTER_S) & (frame["server_up"] == 1)]
    back = _after_return(frame)
    quiet = quiet.drop(back.index, errors="ignore")
    rows = [
        ("networks, members there (median)", f"{frame['network'].nunique()}, {frame['members_up'].median():.0f}"),
        ("settled pairs connected %", _settled(frame)),
        ("the same while the servers are dead %", _settled(frame[frame["server_up"] == 0])),
        ("a server sends, messages/s", _spread(quiet["server_messages_per_s"])),
        ("a server sends, kbit/s", _spread(quiet["server_kbit_per_s"])),
        ("a server sends after its return, messages/s", _spread(back["server_messages_per_s"])),
        ("a member sends, messages/s", _spread(quiet["member_messages_per_s"])),
        ("a member sends, B/s", _spread(quiet["member_bytes_per_s"])),
    ]
    note = (
        "Median over the samples, and the largest. UDP payloads; no data is sent: all of it is upkeep. Without "
        f"the first {QUIET_AFTER_S:g} s and the first sample after a server's return. Settled: both there for 30 s."
    )
    return TextTable("Over time", ("figure", "value"), tuple(rows), frozenset({1}), note)


def _after_return(frame: pd.DataFrame) -> pd.DataFrame:
    was_up = frame.groupby("network")["server_up"].shift(fill_value=1)
    return frame[(frame["server_up"] == 1) & (was_up == 0)]


def _settled(frame: pd.DataFrame) -> str:
    settled = frame["pairs_settled"].sum()
    return f"{100 * frame['settled_connected'].sum() / settled:.2f}" if settled else NOTHING


def _spread(values: pd.Series) -> str:
    return f"{values.median():.1f}, at most {values.max():.1f}" if len(values) else NOTHING


def churn_plot(frame: pd.DataFrame) -> Plot:
    """Return the first network's time series."""
    data = frame[frame["network"] == frame["network"].min()]
    columns = ["at_s", "server_up", "members_up", "pairs", "pairs_connected", "pairs_direct", "server_messages_per_s"]

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, sharex=True)
        for number, (column, name) in enumerate(
            (("pairs", "both there"), ("pairs_connected", "connected"), ("pairs_direct", "direct"))
        ):
            above.plot(data["at_s"], data[column], color=COLOURS[number], label=name)
        above.set(ylabel="pairs", ylim=(0, None))
        above.legend()
        below.plot(data["at_s"], data["server_messages_per_s"], color=COLOURS[3])
        below.set(xlabel="seconds", ylabel="server sends (1/s)", ylim=(0, None))
        for axes in (above, below):
            axes.fill_between(
                data["at_s"], 0, 1, where=data["server_up"] == 0, transform=axes.get_xaxis_transform(), alpha=0.15
            )

    caption = "The first network. Shaded: its servers are dead."
    return Plot("population-over-time", "A network over time", caption, data[columns], 3.6, draw)
