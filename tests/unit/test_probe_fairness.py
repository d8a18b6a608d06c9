"""How equally pairs share, from what each got; the iperf3 runs themselves are the lab's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from harness.errors import OverlayError
from harness.probes import fairness
from harness.probes.contract import Found, Pair
from harness.probes.fairness import FairnessProbe, FairnessSettings, Shares, jain_index


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


def filled(monkeypatch: pytest.MonkeyPatch, folder: Path, got: dict[Pair, float | None]) -> Shares:
    """Fill all pairs by an iperf3 that is made up; None: it is cut off."""

    @contextlib.contextmanager
    def server_of(*_: Any) -> Iterator[Any]:
        yield SimpleNamespace(tail="")

    def finish(target: Any, *_: Any) -> float:
        if got[target.pair] is None:
            raise OverlayError(f"iperf3 {target.src} to {target.dst}: cut off")
        return cast(float, got[target.pair])

    monkeypatch.setattr(fairness, "server_of", server_of)
    monkeypatch.setattr(fairness, "client_of", lambda *_: SimpleNamespace(stop=lambda: None))
    monkeypatch.setattr(fairness, "finish", finish)
    monkeypatch.setattr(fairness, "parse_iperf3", lambda mbit: SimpleNamespace(mbit=mbit))
    targets = [SimpleNamespace(pair=pair, src=pair[0], dst=pair[1], folder=folder, label="overlay") for pair in got]
    return FairnessProbe().measure_all(cast(Any, targets), FairnessSettings(), cast(Any, None))[targets[0].pair]


def test_a_pair_that_is_starved_until_it_breaks_got_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shares = filled(monkeypatch, tmp_path, {("a", "b"): 40.0, ("a", "c"): 40.0, ("b", "c"): None})
    assert shares.of(("b", "c")) == 0 and jain_index(mbit for _, mbit in shares.mbit) == pytest.approx(2 / 3)
    assert "iperf3 b to c: cut off" in Path(shares.evidence).read_text()


def test_where_every_pair_breaks_the_trial_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(OverlayError, match="iperf3 a to b: cut off"):
        filled(monkeypatch, tmp_path, {("a", "b"): None, ("a", "c"): None})
