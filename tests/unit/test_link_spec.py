"""The C helper's model against the specification in Python: the same frames and seeds must have the same fates."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.link.helper import helper_argv, write_table
from harness.link.settings import Settings, settings_of, stream_seeds
from harness.link.spec import LinkDirection
from harness.model.link import Direction

Fate = tuple[int, int, int]


def by_specification(seeds: tuple[int, ...], steps: list[Any]) -> tuple[list[Fate], list[int]]:
    way = LinkDirection(Settings(), seeds)
    fates: list[Fate] = []

    def take(until: int) -> None:
        while (following := way.next_time()) is not None and following <= until:
            for frame in way.due(following):
                changed = -1 if frame.flipped_bit is None else 14 + frame.flipped_bit // 8
                fates.append((frame.number, frame.deliver, changed))

    now = 0
    for step in steps:
        if isinstance(step, Settings):
            way.change(step, now)
        else:
            now, length = step
            take(now)
            way.arrive(now, length)
    take(1 << 62)
    c = way.counts
    return fates, [
        *(c.received, c.sent, c.lost, c.queue_drops, c.oversize_drops),
        *(c.duplicated, c.corrupted, c.reordered),
    ]


def by_helper(seeds: tuple[int, ...], steps: list[Any], folder: Path) -> tuple[list[Fate], list[int]]:
    argv = helper_argv()
    assert argv is not None, "the helper is not built: run `make setup`"
    lines = ["seeds " + " ".join(map(str, seeds))]
    known: dict[tuple[int, ...], int] = {}
    for step in steps:
        if isinstance(step, Settings):
            numbers = {}
            for name, values in step.tables.items():
                if values not in known:
                    known[values] = len(known)
                    write_table(folder / str(known[values]), values)
                    lines.append(f"table {known[values]} {folder / str(known[values])}")
                numbers[name] = known[values]
            lines.append(f"set {step.words(numbers)}")
        else:
            lines.append(f"frame {step[0]} {step[1]}")
    done = subprocess.run([*argv, "replay"], input="\n".join(lines), capture_output=True, text=True, check=True)
    *fates, counts = done.stdout.splitlines()
    number, deliver, changed = zip(*(map(int, line.split()) for line in fates), strict=True) if fates else ((), (), ())
    return list(zip(number, deliver, changed, strict=True)), [int(word) for word in counts.split()[1:]]


percent = st.one_of(st.just(0.0), st.floats(0.1, 60), st.just(100.0))
jitters = st.one_of(
    st.none(),
    st.builds(
        lambda kind, width, correlation: {"kind": kind, "jitter_ms": width, "correlation": correlation},
        st.sampled_from(["uniform", "normal", "pareto"]),
        st.floats(0.01, 30),
        st.sampled_from([0, 0.3, 0.9]),
    ),
    st.just({"kind": "trace", "file": "jitter"}),
)
losses = st.one_of(
    st.none(),
    st.builds(lambda p, c: {"kind": "bernoulli", "percent": p, "correlation": c}, percent, st.sampled_from([0, 0.5])),
    st.builds(
        lambda p, r, b, g: {
            "kind": "gilbert-elliott",
            "good_to_bad_percent": p,
            "bad_to_good_percent": r,
            "loss_bad_percent": b,
            "loss_good_percent": g,
        },
        *(st.floats(0.1, 60), st.floats(0.1, 100), percent, st.floats(0, 5)),
    ),
    st.just({"kind": "trace", "file": "loss"}),
)
rates = st.one_of(
    st.just({}),
    st.builds(
        lambda rate, queue: {**rate, "queue": queue},
        st.one_of(st.builds(lambda r: {"rate_mbit": r}, st.floats(0.1, 200)), st.just({"rate_file": "rate"})),
        st.one_of(
            st.builds(lambda n: {"limit_packets": n}, st.integers(1, 60)),
            st.builds(lambda n: {"limit_bytes": n}, st.integers(1000, 90_000)),
            st.builds(
                lambda n, t: {"discipline": "codel", "limit_packets": n, "target_ms": t, "interval_ms": 10 * t},
                st.integers(5, 200),
                st.floats(0.5, 5),
            ),
        ),
    ),
)
directions = st.builds(
    lambda delay, jitter, loss, rate, shares, mtu, runs: Direction.model_validate(
        {
            "delay_ms": delay,
            "jitter": jitter,
            "loss": loss,
            "duplicate_percent": shares[0],
            "corrupt_percent": shares[1],
            "reorder_percent": shares[2] if delay else 0,
            "reorder_correlation": runs if delay and shares[2] else 0,
            "mtu_bytes": mtu,
            **rate,
        }
    ),
    *(st.one_of(st.just(0.0), st.floats(0.01, 50)), jitters, losses, rates),
    *(st.tuples(percent, percent, percent), st.sampled_from([1500, 1280]), st.sampled_from([0, 0.5])),
)
TRACES = {
    "jitter.file": (0, 2_000_000, -3_000_000, 500_000),
    "loss.file": (0, 0, 1, 0, 1, 1),
    "rate_file": (0, 1_000_000, 1_000_000, 4_000_000, 9_000_000),
}
# Gaps of 0 (frames in a row), of a full-speed burst, and pauses in which queues run empty.
arrivals = st.lists(
    st.tuples(st.one_of(st.just(0), st.integers(1, 200_000), st.integers(0, 30_000_000)), st.integers(14, 1514)),
    min_size=1,
    max_size=250,
)


@given(st.tuples(directions, directions), arrivals, arrivals, st.integers(0, 2**32))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_helper_and_specification_agree(tmp_path_factory, ways, first, second, seed):  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("replay")
    steps: list[Any] = []
    now = 1000
    for direction, frames in zip(ways, (first, second), strict=True):
        steps.append(settings_of(direction, TRACES))
        for gap, length in frames:
            now += gap
            steps.append((now, length))
    seeds = stream_seeds(seed, "a-internet", "up")
    assert by_helper(seeds, steps, folder) == by_specification(seeds, steps)


def send(direction: dict[str, Any], count: int, gap_ns: int, *, length: int = 1014, seed: int = 1) -> list[Fate]:
    chosen = settings_of(Direction.model_validate(direction), TRACES)
    steps = [chosen, *((1000 + i * gap_ns, length) for i in range(count))]
    return by_specification(stream_seeds(seed, "x", "up"), steps)[0]


def test_the_same_seed_repeats_the_same_losses_and_another_does_not() -> None:
    runs = [{number for number, _, _ in send({"loss_percent": 20}, 500, 1000, seed=s)} for s in (7, 7, 8)]
    assert runs[0] == runs[1] != runs[2]


def test_one_effect_leaves_the_draws_of_another_alone() -> None:
    alone = {number for number, _, _ in send({"loss_percent": 20}, 500, 1000)}
    assert {number for number, _, _ in send({"loss_percent": 20, "jitter_ms": 3, "delay_ms": 9}, 500, 1000)} == alone


def test_frames_leave_at_the_rate_and_the_queue_holds_what_it_says() -> None:
    # 1014 bytes at 8.112 Mbit/s take a millisecond each; 20 come at once into a queue of 5.
    fates = send({"rate_mbit": 8.112, "queue_packets": 5}, 20, 0)
    assert [deliver - 1000 for _, deliver, _ in fates] == [1_000_000 * (i + 1) for i in range(5)]


def test_order_is_kept_under_jitter_unless_reordering_is_asked_for() -> None:
    base = {"delay_ms": 20, "jitter_ms": 5}
    kept = [number for number, _, _ in send(base, 500, 1_000_000)]
    mixed = [number for number, _, _ in send({**base, "reorder_percent": 10}, 500, 1_000_000)]
    assert kept == sorted(kept)
    assert mixed != sorted(mixed)
    assert sorted(mixed) == kept


def test_correlated_loss_has_the_declared_share_in_longer_bursts() -> None:
    def share_and_burst(correlation: float) -> tuple[float, float]:
        loss = {"kind": "bernoulli", "percent": 10, "correlation": correlation}
        arrived = {number for number, _, _ in send({"loss": loss}, 40_000, 1000)}
        lost = [i not in arrived for i in range(40_000)]
        bursts = sum(now and not before for before, now in zip([False, *lost], lost, strict=False))
        return sum(lost) / len(lost), sum(lost) / bursts

    (share, burst), (share_correlated, burst_correlated) = share_and_burst(0), share_and_burst(0.6)
    assert share == pytest.approx(0.1, abs=0.006)
    assert share_correlated == pytest.approx(0.1, abs=0.012)
    # The mean length of a burst is 1 / (1 - p) for independent losses, 1 / ((1 - p) (1 - rho)) for the DAR(1) process.
    assert burst == pytest.approx(1 / 0.9, rel=0.05)
    assert burst_correlated == pytest.approx(1 / (0.9 * 0.4), rel=0.1)


def test_correlated_reordering_has_the_declared_share_in_longer_runs() -> None:
    def share_and_run(correlation: float) -> tuple[float, float]:
        # Frames 1 ms apart: who skips 0.5 ms of delay overtakes nobody, so the fates stay in order.
        spec = {"delay_ms": 0.5, "reorder_percent": 10, "reorder_correlation": correlation}
        ahead = [deliver - number * 1_000_000 < 250_000 for number, deliver, _ in send(spec, 40_000, 1_000_000)]
        runs = sum(now and not before for before, now in zip([False, *ahead], ahead, strict=False))
        return sum(ahead) / len(ahead), sum(ahead) / runs

    (share, run), (share_correlated, run_correlated) = share_and_run(0), share_and_run(0.6)
    assert share == pytest.approx(0.1, abs=0.006)
    assert share_correlated == pytest.approx(0.1, abs=0.012)
    assert run == pytest.approx(1 / 0.9, rel=0.05)
    assert run_correlated == pytest.approx(1 / (0.9 * 0.4), rel=0.1)


def test_gilbert_elliott_has_its_stationary_share_and_burst_length() -> None:
    loss = {"kind": "gilbert-elliott", "good_to_bad_percent": 2, "bad_to_good_percent": 25}
    arrived = {number for number, _, _ in send({"loss": loss}, 40_000, 1000)}
    lost = [i not in arrived for i in range(40_000)]
    bursts = sum(now and not before for before, now in zip([False, *lost], lost, strict=False))
    assert sum(lost) / len(lost) == pytest.approx(2 / 27, rel=0.1)
    assert sum(lost) / bursts == pytest.approx(4, rel=0.1)


def test_codel_holds_the_standing_queue_near_its_target() -> None:
    # 1014-byte frames every 0.98 ms into 8.112 Mbit/s (1 ms a frame): drop-tail fills up, CoDel does not.
    def standing_ms(queue: dict[str, Any]) -> float:
        fates = send({"rate_mbit": 8.112, "queue": queue}, 20_000, 980_000)
        late = [deliver - (1000 + number * 980_000) for number, deliver, _ in fates[-2000:]]
        return sorted(late)[len(late) // 2] / 1e6

    assert standing_ms({"limit_packets": 200}) > 190
    assert standing_ms({"limit_packets": 200, "discipline": "codel"}) < 20


def test_a_rate_trace_gives_each_opportunity_to_1500_bytes_once() -> None:
    # Opportunities at 0, 1, 1, 4, 9 ms and then every 9 ms again; frames of 1500-byte packets all there from the start.
    fates = send({"rate_file": "rate", "queue_packets": 50}, 7, 0, length=1514)
    assert [round(deliver / 1e6) for _, deliver, _ in fates] == [1, 1, 4, 9, 9, 10, 10]
