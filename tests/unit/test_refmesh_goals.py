"""The goals of `bench/refmesh.py`: ratios within rounds, their spread, and what decides."""

from __future__ import annotations

from typing import Any

import pytest

from bench import refmesh
from bench.refmesh_goals import GOALS, judged, lines
from bench.refmesh_processors import ceiling
from bench.refmesh_subjects import SUBJECTS


def rounds(**own: list[float]) -> dict[str, dict[str, list[float]]]:
    figures = {
        "underlay": {"tcp_mbit": [10_000.0] * 3, "rtt_ms": [0.05] * 3},
        "tailscale": {"tcp_mbit": [1000.0, 2000.0, 500.0], "rtt_ms": [0.65] * 3, "cpu_s_per_gb": [2.0] * 3},
        "tinc": {"tcp_mbit": [400.0] * 3, "rtt_ms": [0.25] * 3, "cpu_s_per_gb": [9.0] * 3},
        "nebula": {"tcp_mbit": [300.0, 300.0, 800.0], "rtt_ms": [0.45] * 3, "cpu_s_per_gb": [9.0] * 3},
    }
    return figures | {"refmesh": dict(own), "refmesh-wireguard": dict(own)}


def of(found: list[dict[str, Any]], text: str) -> dict[str, Any]:
    return next(goal for goal in found if goal["text"].startswith(text))


def test_ratios_are_within_rounds_and_the_median_decides() -> None:
    found = judged(rounds(tcp_mbit=[1600.0, 2800.0, 1000.0], rtt_ms=[0.25, 0.15, 0.45], cpu_s_per_gb=[1.0, 3.0, 1.9]))
    negotiated = of(found, "negotiated framing, throughput")
    assert (negotiated["ratio"], negotiated["lowest"], negotiated["highest"]) == (1.6, 1.4, 2.0)
    assert negotiated["verdict"] == "pass"
    older = of(found, "plain framing, throughput to the best older")
    assert (older["ratio"], older["verdict"]) == (4.0, "pass")  # the best is another one in the third round
    assert older["lowest"] == 1.25
    assert older["against"] == ["nebula", "tinc"]  # the two others were not measured, and who reads it knows
    assert any("against nebula, tinc" in line for line in lines(found))
    added = of(found, "negotiated framing, added RTT")
    assert (added["ratio"], added["lowest"], added["highest"], added["verdict"]) == (1.0, 0.5, 2.0, "pass")
    assert of(found, "negotiated framing, CPU")["verdict"] == "pass"
    assert of(judged(rounds(tcp_mbit=[1400.0, 2900.0, 700.0])), "negotiated framing, throughput")["verdict"] == "missed"


def test_what_was_not_measured_is_neither_passed_nor_missed() -> None:
    figures = rounds(tcp_mbit=[1.0])
    del figures["tailscale"]
    found = judged(figures)
    assert len(found) == len(GOALS)
    assert of(found, "negotiated framing, throughput")["verdict"] == "unknown"
    assert of(found, "negotiated framing, added RTT")["verdict"] == "unknown"
    assert of(found, "plain framing, throughput to the best")["verdict"] == "missed"
    assert any("not measured" in line for line in lines(found))


def test_a_round_in_which_somebody_did_not_come_up_is_left_out_and_counted() -> None:
    figures: dict[str, dict[str, list[float | None]]] = {
        "underlay": {"tcp_mbit": [10_000.0] * 3, "rtt_ms": [0.05] * 3},
        "refmesh": {"tcp_mbit": [1600.0, 2800.0, None], "rtt_ms": [0.25, 0.25, None]},
        "tailscale": {"tcp_mbit": [1000.0, None, 500.0], "rtt_ms": [0.65, None, 0.65]},
        "refmesh-wireguard": {"tcp_mbit": [None] * 3, "rtt_ms": [None] * 3},
    }
    found = judged(figures)
    negotiated = of(found, "negotiated framing, throughput")
    assert (negotiated["ratio"], negotiated["rounds"], negotiated["verdict"]) == (1.6, 1, "pass")
    assert of(found, "plain framing, throughput to tailscale's")["verdict"] == "unknown"
    assert any("tailscale, 1 round" in line for line in lines(found))


def test_a_cipher_that_costs_nothing_leaves_the_rest() -> None:
    assert ceiling(1.0, 4.0) == pytest.approx(4 / 3)
    with pytest.raises(ValueError, match="not of one machine"):
        ceiling(4.0, 4.0)


def test_a_subject_is_there_with_all_that_it_takes_and_says_its_version(monkeypatch: pytest.MonkeyPatch) -> None:
    (tailscale,) = (subject for subject in SUBJECTS if subject.name == "tailscale")
    there = {"tailscaled", "tailscale", "headscale"}
    monkeypatch.setattr(refmesh.shutil, "which", lambda program: program if program in there else None)
    assert not refmesh._there(tailscale, 0)
    there.add("derper")
    assert refmesh._there(tailscale, 0)
    (own,) = (subject for subject in SUBJECTS if subject.name == "refmesh")
    assert own.version().startswith("Python 3.")
