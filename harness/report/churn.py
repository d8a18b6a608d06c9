"""What a report says of networks over time: reach, the servers' load, what members send, the storm after a death."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from harness.report.plots.figure import Plot
from harness.report.plots.style import COLOURS
from harness.report.tables import NOTHING, TextTable
from harness.results.store import ResultFolderError

FILE = "churn.csv"
QUIET_AFTER_S = 60.0
"""Everybody has found everybody by then, after the last member's start and after a server's return."""
LATER = {
    "server_received": 0,
    "server_received_bytes": 0,
    "server_state_bytes": math.nan,
    "probed": 0,
    "probed_carried": 0,
}
"""Columns that earlier versions did not write."""


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
        frame = frame.assign(**{name: value for name, value in LATER.items() if name not in frame})
        frame["seconds"] = frame.groupby("network")["at_s"].diff().fillna(frame["at_s"])
        frame["server_received_per_s"] = frame["server_received"] / frame["seconds"]
        frame["server_messages_per_s"] = frame["server_messages"] / frame["seconds"]
        frame["server_kbit_per_s"] = frame["server_bytes"] * 8e-3 / frame["seconds"]
        members = frame["members_up"].clip(lower=1)
        frame["member_messages_per_s"] = frame["member_messages"] / frame["seconds"] / members
        frame["member_bytes_per_s"] = frame["member_bytes"] / frame["seconds"] / members
        frame["since_return_s"] = _since_return(frame)
    except (OSError, ValueError, KeyError) as error:
        raise ResultFolderError(f"{path}: unreadable: {error}") from None
    return frame


def _since_return(frame: pd.DataFrame) -> pd.Series:
    """Return for how long each network's servers have been back; NaN where they did not die before."""
    ended = frame["at_s"].where(frame["server_up"] == 0)
    return frame["at_s"] - ended.groupby(frame["network"]).ffill()


def _quiet(frame: pd.DataFrame, churn: Mapping[str, Any] | None) -> pd.DataFrame:
    """Return the samples in which neither all begin nor all come back."""
    began = frame["at_s"] - frame["seconds"] < _begun_s(churn)
    returning = frame["since_return_s"] - frame["seconds"] < QUIET_AFTER_S
    return frame[(frame["server_up"] == 1) & ~began & ~returning]


def _begun_s(churn: Mapping[str, Any] | None) -> float:
    """Return when all members have started, one after the other, and have found each other."""
    return QUIET_AFTER_S + float((churn or {}).get("start_within_s", 0.0))


def _returning(frame: pd.DataFrame) -> pd.DataFrame:
    """Return the samples of the minute after a return."""
    since = frame["since_return_s"]
    return frame[(frame["server_up"] == 1) & (since > 0.0) & (since <= QUIET_AFTER_S)]


def churn_tables(frame: pd.DataFrame, churn: Mapping[str, Any] | None) -> list[TextTable]:
    """Return the figures of a network, and of the one server that all of `peers` have, where the population says so.

    Args:
        churn: the population's settings, as population.json keeps them.
    """
    tables = [_of_networks(frame, churn)]
    if churn is not None and churn.get("peers"):
        tables.append(_of_all(frame, churn))
    return tables


def _of_networks(frame: pd.DataFrame, churn: Mapping[str, Any] | None) -> TextTable:
    quiet, dead = _quiet(frame, churn), frame[frame["server_up"] == 0]
    back = _returning(frame)
    rows = [
        ("networks; members present (median)", f"{frame['network'].nunique()}, {frame['members_up'].median():.0f}"),
        ("settled pairs that are connected (%)", _settled(frame)),
        ("the same while the servers are dead (%)", _settled(dead)),
        ("probes of such pairs that arrived within 1 s (%)", _carried(frame)),
        ("received by a server (messages/s)", _spread(quiet, "server_received_per_s")),
        ("sent by a server (messages/s)", _spread(quiet, "server_messages_per_s")),
        ("sent by a server (kbit/s)", _spread(quiet, "server_kbit_per_s")),
        ("received by a server in the minute after its return (messages/s)", _spread(back, "server_received_per_s")),
        ("sent by a server in the minute after its return (messages/s)", _spread(back, "server_messages_per_s")),
        ("sent to a dead server (messages/s)", _spread(dead, "server_received_per_s")),
        ("state of a server (kB)", _state(frame)),
        ("sent by a member (messages/s)", _spread(quiet, "member_messages_per_s")),
        ("sent by a member (B/s)", _spread(quiet, "member_bytes_per_s")),
    ]
    note = (
        "Rates: mean over time, and the largest between two samples. Connected: both members say so; probes of some "
        "pairs check it. Settled: both members have been present for 30 s. Messages and bytes are UDP payloads, all "
        f"of them upkeep, because nothing but the probes sends data. Rates leave out the first {_begun_s(churn):g} s, "
        f"in which all members start, and the {QUIET_AFTER_S:g} s after a server's return, unless the row says "
        "otherwise. State of a server: its Python objects, without the program."
    )
    return TextTable("A network over time: figures", ("figure", "value"), tuple(rows), frozenset({1}), note)


def _carried(frame: pd.DataFrame) -> str:
    probed, carried = int(frame["probed"].sum()), int(frame["probed_carried"].sum())
    return f"{100 * carried / probed:.1f} ({carried} of {probed})" if probed else NOTHING


def _of_all(frame: pd.DataFrame, churn: Mapping[str, Any]) -> TextTable:
    peers, members = int(churn["peers"]), int(churn["members"])
    networks = peers / members
    quiet = _quiet(frame, churn)
    storm, calm = storm_of(frame, networks), networks * _mean(quiet, "server_received")
    rows = [
        (name, _total(quiet, column, networks, factor))
        for name, column, factor in (
            ("received (messages/s)", "server_received", 1.0),
            ("received (Mbit/s)", "server_received_bytes", 8e-6),
            ("sent (messages/s)", "server_messages", 1.0),
            ("sent (Mbit/s)", "server_bytes", 8e-6),
        )
    ]
    state = frame.groupby("network")["server_state_bytes"].max()
    rows.append(("state (MB)", _interval(state * 1e-6, networks)))
    if len(storm):
        worst = storm.sort_values("received_per_s", ascending=False).to_dict(orient="records")[0]
        rows += [
            ("largest rate received after its return (messages/s)", f"{worst['received_per_s']:,.0f}"),
            ("time of that after its return (s)", f"{worst['since_return_s']:g}"),
            (
                "that rate as a multiple of the usual rate",
                f"{worst['received_per_s'] / calm:.1f}" if calm > 0 else NOTHING,
            ),
        ]
    note = (
        f"{frame['network'].nunique()} networks of {members} members were simulated; {peers:,} peers are "
        f"{networks:,.0f} such networks. Networks do not know each other, so that their loads add up: the mean per "
        "network times the number of networks, with its 95 % interval over networks. The rates after the server's "
        "return are sums over the same moments."
    )
    return TextTable(f"One server for {peers:,} peers", ("figure", "value"), tuple(rows), frozenset({1}), note)


def storm_of(frame: pd.DataFrame, networks: float) -> pd.DataFrame:
    """Return what the servers of so many networks together receive and send, by time since their return."""
    back = _returning(frame)
    each = networks / max(1, frame["network"].nunique())
    together = back.groupby("since_return_s")[["server_received", "server_messages"]].sum()
    seconds = back.groupby("since_return_s")["seconds"].first()
    rates = together.mul(each).div(seconds, axis=0)
    return rates.set_axis(["received_per_s", "sent_per_s"], axis=1).reset_index()


def _mean(frame: pd.DataFrame, column: str) -> float:
    """Return a network's rate a second; NaN without samples, as where a run is over before its quiet time begins."""
    sums = frame.groupby("network")[[column, "seconds"]].sum()
    return float((sums[column] / sums["seconds"]).mean())


def _total(frame: pd.DataFrame, column: str, networks: float, factor: float) -> str:
    sums = frame.groupby("network")[[column, "seconds"]].sum()
    return _interval(sums[column] / sums["seconds"] * factor, networks)


def _interval(of_network: pd.Series, networks: float) -> str:
    """Return the sum over so many networks, from those that were simulated, with its interval (Student's t)."""
    values = of_network.dropna()
    if values.empty:
        return NOTHING
    text = _figure(values.mean() * networks)
    if len(values) < 2:
        return text
    return f"{text} ± {_figure(float(stats.t.ppf(0.975, len(values) - 1) * values.sem()) * networks)}"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _settled(frame: pd.DataFrame) -> str:
    settled = frame["pairs_settled"].sum()
    return f"{100 * frame['settled_connected'].sum() / settled:.2f}" if settled else NOTHING


def _spread(frame: pd.DataFrame, column: str) -> str:
    if frame.empty:
        return NOTHING
    mean = (frame[column] * frame["seconds"]).sum() / frame["seconds"].sum()
    return f"{mean:.2f}, at most {frame[column].max():.1f}"


def _state(frame: pd.DataFrame) -> str:
    state = frame["server_state_bytes"].dropna() / 1000
    return f"{state.median():.0f}, at most {state.max():.0f}" if len(state) else NOTHING


def churn_plots(frame: pd.DataFrame, churn: Mapping[str, Any] | None) -> list[Plot]:
    """Return the first network's time series, and the storm after the servers' return where there is one."""
    plots = [_series(frame)]
    peers = int(churn["peers"]) if churn is not None and churn.get("peers") else 0
    networks = peers / int(churn["members"]) if churn is not None and peers else float(frame["network"].nunique())
    storm = storm_of(frame, networks)
    if len(storm) > 2:
        plots.append(_storm(storm, f"{peers:,} peers" if peers else "the simulated networks together"))
    return plots


def _series(frame: pd.DataFrame) -> Plot:
    data = frame[frame["network"] == frame["network"].min()]
    columns = [
        *("at_s", "server_up", "members_up", "pairs", "pairs_connected", "pairs_direct"),
        *("server_received_per_s", "server_messages_per_s", "member_bytes_per_s"),
    ]

    def draw(figure: Figure) -> None:
        above, below = figure.subplots(2, sharex=True)
        hours = data["at_s"] / 3600
        for number, (column, name) in enumerate(
            (("pairs", "both present"), ("pairs_connected", "connected"), ("pairs_direct", "direct"))
        ):
            above.step(hours, data[column], where="post", color=COLOURS[number], label=name)
        above.set(ylabel="pairs", ylim=(0, None))
        above.legend()
        below.step(hours, data["server_messages_per_s"], where="pre", color=COLOURS[3])
        below.set(xlabel="time (h)", ylabel="sent by server\n(messages/s)", ylim=(0, None))
        for axes in (above, below):
            axes.fill_between(
                hours, 0, 1, where=data["server_up"] == 0, transform=axes.get_xaxis_transform(), alpha=0.15, step="pre"
            )

    caption = (
        "The first network. Pairs: of members that are both present, connected, and direct. Shaded: its "
        "servers are dead."
    )
    return Plot("population-over-time", "A network over time", caption, data[columns], 3.6, draw)


def _storm(storm: pd.DataFrame, whose: str) -> Plot:
    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        for column, name, colour in (("received_per_s", "received", COLOURS[0]), ("sent_per_s", "sent", COLOURS[1])):
            axes.step(storm["since_return_s"], storm[column], where="pre", label=name, color=colour)
        axes.set(xlabel="time since the servers' return (s)", ylabel="messages/s", ylim=(0, None))
        axes.legend()

    caption = f"Messages that the servers of {whose} receive and send after their return without any state."
    return Plot("population-storm", "After the servers' return", caption, storm, 2.6, draw)
