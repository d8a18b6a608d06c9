"""How equally pairs share, from what each got; the iperf3 runs themselves are the lab's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import OverlayError
from harness.probes import allflows, fairness, iperf3
from harness.probes.contract import Found, Pair
from harness.probes.fairness import FairnessProbe, FairnessSettings, Shares, jain_index
from harness.probes.together import Reading, Sender, Window, latest_s, no_common_time, received_by_port


@pytest.mark.parametrize(
    ("values", "index"),
    [([10.0, 10.0, 10.0], 1.0), ([30.0, 0.0, 0.0], 1 / 3), ([4.0, 2.0], 0.9), ([5.0], 1.0), ([0.0, 0.0], None)],
)
def test_jains_index_is_1_for_equal_shares_and_1_of_n_for_one_that_has_all(values: list[float], index: float) -> None:
    assert jain_index(values) == (None if index is None else pytest.approx(index))


def found_of(over: dict[Pair, float], under: dict[Pair, float] | None = None) -> list[Found[Shares]]:
    shares = Shares(tuple(over.items()), "overlay-at-once.json")
    below = None if under is None else Shares(tuple(under.items()), "underlay-at-once.json")
    return [Found(cast(Any, SimpleNamespace(pair=pair, src=pair[0], dst=pair[1])), shares, below) for pair in over]


def test_each_pairs_share_and_what_all_get_together() -> None:
    over = {("a", "b"): 40.0, ("a", "c"): 20.0, ("b", "c"): 20.0}
    found = found_of(over, dict.fromkeys(over, 50.0))
    probe, settings = FairnessProbe(), FairnessSettings()
    shares = {one.src + one.dst: one.value for f in found for one in probe.summarise(f, settings) if one.unit == "1"}  # type: ignore[operator]
    assert shares == {"ab": 0.5, "ac": 0.25, "bc": 0.25}
    whole = {one.metric: one.value for one in probe.summarise_trial(found, settings)}
    assert whole == {
        "concurrent_jain_index": pytest.approx(80**2 / (3 * 2400)),
        "concurrent_tcp_total_mbit": 80.0,
        "underlay_concurrent_jain_index": pytest.approx(1.0),
        "concurrent_tcp_total_ratio": pytest.approx(80 / 150),
    }
    of_pairs = {one.metric for one in probe.summarise(found[0], settings)}
    assert whole.keys() | of_pairs == {metric.name for metric in probe.metrics}


def test_one_pair_shares_with_nobody_and_says_so() -> None:
    (found,) = found_of({("a", "b"): 40.0})
    assert FairnessProbe().summarise(found, FairnessSettings()) == []
    (told,) = FairnessProbe().summarise_trial([found], FairnessSettings())
    assert (told.value, told.outcome) == (None, "unsupported")
    assert "three members or more" in str(told.error)


PAIRS: list[Pair] = [("a", "b"), ("a", "c"), ("b", "c")]


def sender(pair: Pair, began_s: float | None, mbit: float, from_s: float = 102.0, to_s: float = 106.9) -> Sender:
    """One that carried so much between two readings."""
    got = round(mbit * (to_s - from_s) / 8e-6)
    return Sender(pair, began_s, Reading(from_s, 1000), Reading(to_s, 1000 + got))


def test_what_counts_is_what_came_between_two_readings_and_not_a_whole_runs_rate() -> None:
    assert sender(("a", "b"), 100.0, 40.0).mbit == pytest.approx(40.0)
    assert Sender(("a", "b"), 100.0, Reading(102.0, 10**8), None, "cut off").mbit == 0
    assert Window.of([100.0, 100.7, 100.2], 2.0, 5.0) == Window(102.7, pytest.approx(106.75))
    assert latest_s(100.0, 5.0) == 102.5


def test_pairs_that_did_not_send_at_once_share_nothing() -> None:
    """Each had the link alone, one after the other: equal rates, and no fairness."""
    late = Sender(("b", "c"), None, Reading(102.0, 0), Reading(106.9, 0))
    assert no_common_time([sender(PAIRS[0], 100.0, 40.0), sender(PAIRS[1], 100.1, 40.0), late], 5.0) == ""
    assert late.mbit == 0, "the overlay kept it from connecting: no fault of ours, and it is no equal share"
    short = [sender(pair, 100.0, 40.0, from_s=105.0) for pair in PAIRS]
    assert no_common_time(short, 5.0) == "all sent at once for 1.9 s alone, by the readings, of 5 s"
    assert no_common_time([sender(pair, 100.0, 40.0) for pair in PAIRS], 5.0) == ""
    unread = [Sender(pair, 100.0, Reading(102.0, 1)) for pair in PAIRS]
    assert "read too late" in no_common_time(unread, 5.0), "a busy machine's fault, and not the overlay's"
    starved = Sender(("b", "c"), None, None, None, "unable to connect")
    assert no_common_time([sender(PAIRS[0], 100.0, 40.0), starved], 5.0) == "", "it tried all the time, and got nothing"


def test_without_a_common_time_there_is_no_figure_and_the_reason_stands_in_its_place() -> None:
    over = Shares(tuple((pair, 40.0) for pair in PAIRS), "overlay-at-once.json", "b to c began late")
    found = [Found(cast(Any, SimpleNamespace(pair=pair, src=pair[0], dst=pair[1])), over, None) for pair in PAIRS]
    assert [FairnessProbe().summarise(one, FairnessSettings()) for one in found] == [[], [], []]
    (only,) = FairnessProbe().summarise_trial(found, FairnessSettings())
    assert (only.metric, only.value, only.outcome) == ("concurrent_jain_index", None, "error")
    assert only.error == "b to c began late"
    below = found_of(dict.fromkeys(PAIRS, 40.0))[0].overlay
    over_late_underlay = [Found(one.target, below, over) for one in found]
    figures = {one.metric: one for one in FairnessProbe().summarise_trial(over_late_underlay, FairnessSettings())}
    assert figures["underlay_concurrent_jain_index"].value is None
    assert "concurrent_tcp_total_ratio" not in figures and figures["concurrent_jain_index"].value == 1.0


def test_sockets_are_told_by_their_port() -> None:
    said = """\
ESTAB 0      0       10.99.0.2:5201  10.99.0.1:40000
\t cubic bytes_received:4037 segs_in:3
ESTAB 0      0       10.99.0.2:5201  10.99.0.1:40002
\t cubic bytes_received:1000000 segs_in:700
ESTAB 0      0       [fd00::2]:5202  [fd00::1]:40004
\t cubic segs_out:1
"""
    assert received_by_port(said) == {5201: 1004037, 5202: 0}


class Clock:
    """Time that passes while somebody sleeps, and not otherwise: a busy machine makes nobody late."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def time(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self.now_s += seconds


class FakeLab:
    """Nodes on which ss(8) says what each port has received by now, at so many Mbit/s since it began."""

    def __init__(self, rates: dict[int, float], clock: Clock) -> None:
        self.rates, self.since_s, self.clock = rates, clock.time(), clock
        self.begins_s: dict[int, float] = {}
        self.nodes = dict.fromkeys("abc", self)

    def check_output(self, argv: list[str]) -> str:
        ports = [int(word.strip(":")) for word in argv[-1].split() if word.startswith(":")]
        lasted_s = self.clock.time() - self.since_s
        sent_s = {port: lasted_s - self.begins_s.get(port, 0.0) for port in ports}
        return "".join(
            f"ESTAB 0 0 10.0.0.1:{port} 10.0.0.2:9\n\t cubic bytes_received:{self.rates[port] * since_s / 8e-6:.0f}\n"
            for port, since_s in sent_s.items()
            if self.rates.get(port) and since_s > 0
        )


def filled(
    monkeypatch: pytest.MonkeyPatch, folder: Path, got: dict[Pair, float | None], late_s: float | None = None
) -> Shares:
    """Fill all pairs by an iperf3 that is made up; None: it cannot connect; the last may begin late."""
    numbers = {pair: iperf3.PORT + number for number, pair in enumerate(got)}
    clock = Clock()
    monkeypatch.setattr(allflows, "time", clock)
    lab = FakeLab({numbers[pair]: mbit for pair, mbit in got.items() if mbit is not None}, clock)
    last = list(got)[-1]
    if late_s is not None:
        lab.begins_s[numbers[last]] = late_s

    @contextlib.contextmanager
    def server_of(target: Any, *_: Any) -> Iterator[Any]:
        class Log:
            @property
            def text(self) -> str:
                waited = clock.time() >= lab.since_s + lab.begins_s.get(numbers[target.pair], 0.0)
                return "port 5201 connected to 10.0.0.1" if waited and got[target.pair] is not None else ""

        yield SimpleNamespace(tail="", port=numbers[target.pair], daemon=Log())

    def finish(target: Any, *_: Any) -> dict[str, Any]:
        mbit = got[target.pair]
        if mbit is None:
            raise OverlayError(f"iperf3 {target.src} to {target.dst}: cut off")
        return {"end": {"sum_received": {"bytes": mbit / 8e-6, "bits_per_second": mbit * 1e6}}}

    monkeypatch.setattr(fairness, "server_of", server_of)
    alive = {pair: mbit is not None for pair, mbit in got.items()}
    monkeypatch.setattr(
        fairness, "client_of", lambda target, *_: SimpleNamespace(stop=lambda: None, alive=alive[target.pair])
    )
    monkeypatch.setattr(allflows, "finish", finish)
    targets = [
        SimpleNamespace(
            pair=pair, src=pair[0], dst=pair[1], folder=folder, label="overlay", lab=lab,
            stream=lambda port: SimpleNamespace(listen_port=port),
        )
        for pair in got
    ]  # fmt: skip
    settings = FairnessSettings(duration_s=1, omit_s=0)
    return FairnessProbe().measure_all(cast(Any, targets), settings, cast(Any, None))[targets[0].pair]


def test_a_pair_that_is_starved_until_it_breaks_got_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shares = filled(monkeypatch, tmp_path, {("a", "b"): 40.0, ("a", "c"): 40.0, ("b", "c"): None})
    assert shares.of(("b", "c")) == 0 and shares.why_not == ""
    assert jain_index(mbit for _, mbit in shares.mbit) == pytest.approx(2 / 3, rel=0.05)
    assert shares.of(("a", "b")) == pytest.approx(40, rel=0.1)
    assert "iperf3 b to c: cut off" in Path(shares.evidence).read_text()
    assert shares.dead == ("carried no TCP from b to c: iperf3 b to c: cut off",)


def test_a_pair_whose_connection_carried_no_byte_is_dead_though_its_tool_said_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shares = filled(monkeypatch, tmp_path, {("a", "b"): 40.0, ("b", "c"): 0.0})
    assert shares.dead == ("carried no TCP from b to c",)


def test_a_pair_that_carried_tcp_is_not_dead_because_its_tool_lost_the_control_connection() -> None:
    sent = Sender(("a", "b"), 1.0, Reading(2.0, 10_000), Reading(4.0, 30_000), "iperf3: the client has terminated")
    assert sent.why_dead is None
    assert replace(sent, after=Reading(4.0, 0)).why_dead is not None, "not a byte"
    assert replace(sent, after=None).why_dead is not None, "cut off meanwhile"
    assert replace(sent, error="iperf3 a to b: out of memory").why_dead is not None


@pytest.mark.parametrize("late_s", [0.7, 30.0])
def test_a_pair_that_connects_late_got_nothing_until_then(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, late_s: float
) -> None:
    """Starved until it could hardly connect, or not at all while the others sent: the worst shares are figures too."""
    shares = filled(monkeypatch, tmp_path, dict.fromkeys(PAIRS, 40.0), late_s)
    assert shares.why_not == "" and shares.dead == (), "to begin late is not to carry nothing"
    assert shares.of(("b", "c")) < 20 and shares.of(("a", "b")) == pytest.approx(40, rel=0.1)
    index = jain_index(mbit for _, mbit in shares.mbit)
    assert index is not None and 2 / 3 - 0.02 < index < 0.92
    assert late_s < 1 or (shares.of(("b", "c")), index) == (0, pytest.approx(2 / 3, rel=0.05))


def test_where_every_pair_breaks_the_trial_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(OverlayError, match="iperf3 a to b: cut off"):
        filled(monkeypatch, tmp_path, {("a", "b"): None, ("a", "c"): None})
