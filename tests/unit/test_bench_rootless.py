"""What the rootless benchmark counts. Pure."""

from __future__ import annotations

from bench.rootless import causes_of, tally


def end(overlay: str, outcome: str, error: str | None = None) -> dict[str, object]:
    return {
        "probe": "trial",
        "metric": "duration_s",
        "value": 1.0,
        "overlay": overlay,
        "outcome": outcome,
        "error": error,
    }


LATE = "link ra-internet up: 12 of 300 frames over 1000 us late (p99 2300 us) while latency was measured"


def test_causes_are_named_without_links_and_numbers() -> None:
    both = f"{LATE}; link rb-internet down: 3 frames dropped before userlink saw them"
    assert list(causes_of(both)) == [
        "N of N frames over N us late while latency was measured",
        "N frames dropped before userlink saw them",
    ]


def test_valid_is_what_counts_whether_or_not_it_succeeded() -> None:
    lines = [end("refmesh", "invalid", LATE), end("refmesh", "ok"), end("nebula", "failed"), end("nebula", "error")]
    lines += [
        {"probe": "lab", "metric": "link_lateness_p99_us", "value": float(v), "overlay": "x"} for v in (80, 90, 4000)
    ]
    found = tally(lines)
    assert (found["trials"], found["valid"]) == (4, 2)
    assert found["invalid_by_overlay"] == {"refmesh": 1}
    assert found["lateness_p99_us"] == {"median": 90.0, "worst": 4000.0}
    assert list(found["causes"].values()) == [1]
