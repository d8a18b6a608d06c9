"""What needs no kernel of the backends: netem's plan and read-back, accounts, the choice, judge, nodes' settings."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from click.testing import CliRunner

from harness.calibration.link_cases import CASES
from harness.calibration.link_judge import Finding, compare, judge, predicted
from harness.calibration.link_traffic import Seen
from harness.commands import calibrate_link
from harness.errors import MissingPrerequisite
from harness.link import choose
from harness.link.accounting import BUCKETS, Accounting, DirectionCounts, bucket_upper_us
from harness.link.check import rtt_bounds_ms
from harness.link.hoststack import differences, node_sysctls, pick_congestion_control
from harness.link.netem_backend import NetemLinks
from harness.link.netem_plan import netem_plan, netem_refusals, read_back_problems
from harness.link.quantiles import QUANTILE_COUNT, netem_table, quantiles
from harness.link.userlink_backend import UserlinkLinks
from harness.model.link import PRESETS, parse_link


def reported(link: Any) -> list[dict[str, Any]]:
    """Return what tc -j of iproute2 6.1 says when the kernel does as planned."""
    return [
        {"kind": qdisc.kind, "handle": qdisc.handle, "options": json.loads(json.dumps(dict(qdisc.expect)))}
        for qdisc in netem_plan(parse_link(link).up)
    ]


def test_netem_gets_delay_at_the_root_and_the_rate_with_its_queue_below() -> None:
    plan = netem_plan(parse_link({"delay_ms": 10, "rate_mbit": 8, "queue_packets": 7, "loss_percent": 1}).up)
    assert [(q.kind, q.parent) for q in plan] == [("netem", "root"), ("tbf", "1:1"), ("pfifo", "2:1")]
    assert " ".join(plan[0].words).endswith("delay 10000.000us loss random 1.0000000%")
    assert "8000000bit" in plan[1].words
    assert plan[2].words == ("limit", "7")


def test_netem_keeps_order_under_jitter_by_a_rate_and_lets_it_go_on_demand() -> None:
    kept = netem_plan(parse_link({"delay_ms": 10, "jitter_ms": 2}).up)[0]
    free = netem_plan(parse_link({"delay_ms": 10, "jitter_ms": 2, "reorder_percent": 1}).up)[0]
    assert "rate" in kept.words
    assert "rate" not in free.words
    assert "reorder" in free.words


@pytest.mark.parametrize(
    "spec",
    [
        {"jitter": {"jitter_ms": 1, "correlation": 0.5}},
        {"loss": {"percent": 1, "correlation": 0.5}},
        {"reorder_percent": 1, "reorder_correlation": 0.5},
        {"rate_file": "x", "queue_packets": 1},
        {"loss": {"kind": "trace", "file": "x"}},
        {"jitter": {"kind": "trace", "file": "x"}},
    ],
)
def test_netem_refuses_what_it_would_do_otherwise(spec: dict[str, Any]) -> None:
    assert netem_refusals(parse_link({"down": spec, "delay_ms": 5}))[0].startswith("down.")


def test_read_back_finds_every_deviation() -> None:
    link = {"delay_ms": 30, "loss_percent": 2, "rate_mbit": 5, "queue_ms": 100}
    plan = netem_plan(parse_link(link).up)
    assert read_back_problems(plan, reported(link), "far") == []
    assert read_back_problems(plan, [], "far") == [
        "far: no netem with handle 1:",
        "far: no tbf with handle 2:",
        "far: no bfifo with handle 3:",
    ]
    for place, key, value, words in (
        (0, "delay", {"delay": 0.003}, "delay.delay is 0.003, not 0.03"),
        (0, "loss-random", {"loss": 0}, "loss-random.loss is 0, not 0.02"),
        (0, "duplicate", {"duplicate": 0.5}, "netem does duplicate, which was not asked for"),
        (1, "rate", 1000, "rate is 1000, not 625000"),
    ):
        seen = reported(link)
        seen[place]["options"][key] = value
        assert any(words in problem for problem in read_back_problems(plan, seen, "far")), words


def histogram(**late: int) -> tuple[int, ...]:
    """Frames by lateness in us, `us500=3`."""
    buckets = [0] * BUCKETS
    for name, count in late.items():
        us = float(name.removeprefix("us"))
        buckets[next(i for i in range(BUCKETS) if bucket_upper_us(i) >= us)] += count
    return tuple(buckets)


def account(delay_ms: float = 10, **counts: Any) -> Accounting:
    return Accounting(
        backend="userlink",
        counts={"a-b": {"up": DirectionCounts(**counts)}},
        delay_ms={"a-b": {"up": delay_ms}},
    )


def test_a_trial_is_invalid_by_lateness_relative_to_its_delay_or_by_drops() -> None:
    assert account(lateness=histogram(us20=990, us5000=10)).violation() is None
    late = account(lateness=histogram(us20=900, us5000=100)).violation()
    assert late is not None
    assert "100 of 1000 frames over 1000 us late" in late
    # 5 % of 200 ms are 10 ms.
    assert account(200, lateness=histogram(us20=900, us5000=100)).violation() is None
    assert "3 frames dropped before userlink saw them" in (account(ingress_drops=3).violation() or "")
    assert "2 frames could not be sent" in (account(send_errors=2).violation() or "")


def test_late_frames_are_a_verdict_once_their_share_is_surely_above_one_percent() -> None:
    assert account(lateness=histogram(us20=97, us5000=3)).violation() is None
    assert account(lateness=histogram(us20=96, us5000=4)).violation() is not None
    assert account(lateness=histogram(us20=9_880, us5000=120)).violation() is None
    assert account(lateness=histogram(us20=9_870, us5000=130)).violation() is not None


def test_one_late_frame_of_few_is_no_verdict() -> None:
    assert account(lateness=histogram(us20=5, us5000=1)).violation() is None
    assert account(lateness=histogram(us20=5, us5000=2)).violation() is not None


def test_a_window_is_the_difference_of_two_accounts() -> None:
    before = account(received=10, sent=9, lateness=histogram(us20=5, us5000=4))
    after = account(received=30, sent=28, lateness=histogram(us20=24, us5000=4))
    seen = after.since(before).counts["a-b"]["up"]
    assert (seen.received, seen.sent, sum(seen.lateness)) == (20, 19, 19)
    assert after.since(before).violation() is None, "what was late before the window does not count in it"
    assert after.since(Accounting(backend="userlink")).counts == after.counts


@pytest.mark.parametrize("shape", ["uniform", "normal", "pareto"])
def test_distributions_have_mean_0_and_their_declared_width(shape: Any) -> None:
    values = [value / 2**20 for value in quantiles(shape)]
    assert len(values) == QUANTILE_COUNT
    assert sum(values) / len(values) == pytest.approx(0, abs=1e-4)
    deviation = (sum(value**2 for value in values) / len(values)) ** 0.5
    assert deviation == pytest.approx(3**-0.5 if shape == "uniform" else 1, rel=1e-3)
    assert max(map(abs, values)) <= 4.001
    numbers = [int(word) for word in netem_table(shape).split()]
    assert len(numbers) == QUANTILE_COUNT
    assert numbers == sorted(numbers)


def no_netem() -> MissingPrerequisite:
    return MissingPrerequisite("netem in the kernel", "modprobe sch_netem")


def test_auto_takes_what_accounts_for_its_lateness_whatever_the_kernel_has(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(choose, "netem_missing", lambda: None)
    with caplog.at_level(logging.WARNING):
        assert choose.choose_backend("auto", [parse_link("dsl")]).name == "userlink"
        assert caplog.text == ""
        monkeypatch.setattr(choose, "helper_argv", lambda: None)
        assert choose.choose_backend("auto", [parse_link("dsl")]).name == "netem"
        assert "netem, whose lateness is not accounted for" in caplog.text and "gcc" in caplog.text
        assert choose.choose_backend("auto", [parse_link("dsl"), parse_link("lte")]).name == "userlink-python"
        monkeypatch.setattr(choose, "netem_missing", no_netem)
        assert choose.choose_backend("auto").name == "userlink-python"
    assert "pure-Python" in caplog.text
    with pytest.raises(MissingPrerequisite, match="modprobe"):
        choose.choose_backend("netem")
    with pytest.raises(MissingPrerequisite, match="gcc"):
        choose.choose_backend("userlink")
    with pytest.raises(ValueError, match="no link backend 'tc'"):
        choose.choose_backend("tc")


def test_a_backend_says_what_a_trial_over_its_links_is_held_to() -> None:
    assert UserlinkLinks.accounts_for == ("lateness", "ingress drops", "losses by seed")
    assert NetemLinks.accounts_for == ()


def test_the_check_tells_every_preset_from_a_bare_cable() -> None:
    for name, preset in PRESETS.items():
        declared, low_ms, high_ms = rtt_bounds_ms([preset.profile])
        assert low_ms <= declared <= high_ms
        # A LAN's 0.2 ms are less than what the nodes themselves may add; nothing else may pass for a bare cable.
        assert low_ms > 0.3 or name in ("ideal", "lan"), name


def test_nodes_never_inherit_their_congestion_control() -> None:
    assert pick_congestion_control("reno cubic bbr") == "cubic"
    assert pick_congestion_control("reno bbr") == "reno"
    wanted = node_sysctls("reno")
    seen = {name: value.replace(" ", "\t") for name, value in wanted.items()}
    assert differences(wanted, seen) == []
    seen["net.ipv4.tcp_congestion_control"] = "bbr"
    assert differences(wanted, seen) == ["net.ipv4.tcp_congestion_control is bbr, not reno"]


def perfect(name: str, *, shift_us: float = 0, drop_every: int = 0) -> tuple[Any, Seen]:
    """Return a stream that the model itself delivered, and what is done to it afterwards."""
    case = next(case for case in CASES if case.name == name)
    sent = tuple(round(10**9 + i * case.stream.gap_us * 1000) for i in range(case.stream.count))
    due = predicted(case, Seen(sent, ()), seed=1)
    arrived = sorted(
        ((number, at + round(shift_us * 1000)) for number, copies in due.items() for at in copies), key=lambda x: x[1]
    )
    kept = [pair for i, pair in enumerate(arrived) if not drop_every or i % drop_every]
    return case, Seen(sent, tuple(kept))


# The model flips the bit; that the receiving kernel then drops the packet is not its business.
@pytest.mark.parametrize("case", [case for case in CASES if "corrupt" not in case.name], ids=lambda case: case.name)
def test_the_judge_finds_nothing_wrong_with_what_the_model_does(case: Any) -> None:
    case, seen = perfect(case.name)
    findings = judge(case, "model", seen, seed=1, seeded=True)
    assert findings
    assert [finding for finding in findings if not finding.ok] == []


@pytest.mark.parametrize(
    ("name", "change", "metric"),
    [
        ("delay-10ms-100", {"shift_us": 500}, "delay_error_p50"),
        ("delay-10ms-100", {"drop_every": 100}, "unpredicted"),
        ("loss-2%", {"drop_every": 80}, "lost"),
        ("jitter-normal", {"shift_us": 1000}, "ks_distance_to_model"),
        ("rate-100mbit-1400", {"drop_every": 50}, "rate"),
        ("rate-10mbit-1400", {"shift_us": 9000}, "overload_delay"),
        ("reorder-10%", {"shift_us": 9000}, "sent_ahead"),
    ],
)
def test_the_judge_finds_a_link_that_is_not_what_it_says(name: str, change: dict[str, Any], metric: str) -> None:
    case, seen = perfect(name, **change)
    wrong = {finding.metric for finding in judge(case, "model", seen, seed=1, seeded=True) if not finding.ok}
    assert metric in wrong


def test_backends_that_differ_are_told_apart() -> None:
    _, one = perfect("jitter-normal")
    _, other = perfect("jitter-normal", shift_us=1000)
    (same,) = compare("x", {"netem": one.delays_ms, "userlink": one.delays_ms})
    (unlike,) = compare("x", {"netem": one.delays_ms, "userlink": other.delays_ms})
    assert same.ok
    assert not unlike.ok


def test_calibrate_exits_with_1_where_a_link_is_not_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Finding("userlink", "delay-1ms-100", "delay_error_p50", "us", 0, 900, -50, 200, 800)
    monkeypatch.setattr(calibrate_link, "calibrate", lambda *_, **__: [wrong])
    done = CliRunner().invoke(calibrate_link.calibrate_link_command, ["--json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout)["findings"][0]["ok"] is False
