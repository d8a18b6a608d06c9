"""The netem half of the link tests: runs in a guest with Debian's kernel, see tests/netem/boot.sh.

Software emulation makes timers late by milliseconds, so delays are long, packets few and far between, and shares, not
microseconds, are what is judged closely.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from harness.calibration.link_calibrate import available_backends
from harness.calibration.link_cases import CASES, Case
from harness.calibration.link_judge import Finding, compare, judge
from harness.calibration.link_rig import python, run
from harness.calibration.link_traffic import Seen, Stream
from harness.errors import CommandFailed
from harness.link.backend import Cable
from harness.link.choose import choose_backend, netem_missing
from harness.link.netem_backend import NetemBackend
from harness.model.link import PRESETS, parse_link
from harness.sandbox.unshare import sandbox_argv

# Every preset, and of the calibration's cases those that use a word of tc's that no preset uses; tc is slow here.
WORDS = ("jitter-uniform", "duplicate", "corrupt", "reorder", "packets", "codel", "mtu", "loss-2%")
PROFILES = {
    **{f"preset {name}": preset.profile for name, preset in PRESETS.items() if preset.profile.impaired},
    **{f"case {case.name}": case.profile for case in CASES if any(word in case.name for word in WORDS)},
}
POSSIBLE = {name: profile for name, profile in PROFILES.items() if not NetemBackend().refusals(profile)}


@pytest.fixture(autouse=True, scope="module")
def _kernel_has_netem() -> None:
    why_not = netem_missing()
    assert why_not is None, why_not


@pytest.fixture(scope="module")
def middle() -> Any:
    """Two interfaces in this namespace to put qdiscs on."""
    for name in ("near", "far"):
        run(*f"ip link add name {name} type veth peer name {name}-outer".split())
        run(*f"ip link set {name} up".split())
    yield "near", "far"
    for name in ("near", "far"):
        run("ip", "link", "delete", name)


def test_netem_is_found_and_auto_still_takes_what_accounts_for_its_lateness() -> None:
    assert available_backends()[0] == "netem"
    assert choose_backend("netem").name == "netem"
    assert choose_backend("auto").name == "userlink"


def test_what_netem_refuses_is_named() -> None:
    (reason,) = NetemBackend().refusals(parse_link({"rate_file": "x", "queue_packets": 5}))[:1]
    assert "up.rate_file" in reason


def test_the_kernel_takes_and_reports_every_profile_that_is_not_refused(middle: Any, tmp_path: Path) -> None:
    near, far = middle
    first, *others = POSSIBLE
    links = NetemBackend().start(
        [Cable("x", POSSIBLE[first], near, far)], netns_pid=os.getpid(), seed=1, workdir=tmp_path
    )
    for name in others:
        links.change("x", POSSIBLE[name])
        kinds = [qdisc["kind"] for qdisc in links.applied["x"]["up"]]
        assert ("netem" in kinds) == POSSIBLE[name].up.impaired, name
        assert ("tbf" in kinds) == (POSSIBLE[name].up.rate_mbit is not None), name


def test_a_kernel_that_does_otherwise_is_found_out(
    middle: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near, far = middle
    real = subprocess.run

    def meddling(argv: list[str], **options: Any) -> Any:
        # Somebody's tc that rounds 30 ms down to 3 ms and says nothing.
        return real(["3000.000us" if word == "30000.000us" else word for word in argv], **options)

    monkeypatch.setattr("harness.link.netem_backend.subprocess.run", meddling)
    run("tc", "qdisc", "del", "dev", near, "clsact")
    run("tc", "qdisc", "del", "dev", far, "clsact")
    with pytest.raises(Exception, match=r"did not take what tc was told.*delay"):
        NetemBackend().start(
            [Cable("x", parse_link({"delay_ms": 30}), near, far)], netns_pid=os.getpid(), seed=1, workdir=tmp_path
        )


def test_an_error_of_tc_is_raised_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="nowhere"):
        NetemBackend().start(
            [Cable("x", parse_link({"delay_ms": 1}), "nowhere", "far")], netns_pid=os.getpid(), seed=1, workdir=tmp_path
        )


SLOW = Stream(200, 10_000, 400)
MANY = Stream(2000, 1200, 200)
GENTLE = [
    Case("delay", {"delay_ms": 60}, SLOW, ("delay",)),
    Case("jitter", {"delay_ms": 80, "jitter_ms": 15}, Stream(200, 15_000, 200), ("distribution",)),
    Case("jitter-pareto", {"delay_ms": 80, "jitter": {"kind": "pareto", "jitter_ms": 10}}, SLOW, ("distribution",)),
    Case("loss", {"loss_percent": 10}, MANY, ("loss",)),
    Case(
        "gilbert",
        {"loss": {"kind": "gilbert-elliott", "good_to_bad_percent": 5, "bad_to_good_percent": 30}},
        MANY,
        ("loss",),
    ),
    Case("duplicate", {"delay_ms": 5, "duplicate_percent": 10}, MANY, ("duplicate",)),
    Case("corrupt", {"corrupt_percent": 10}, MANY, ("loss",)),
    Case("reorder", {"delay_ms": 300, "reorder_percent": 15}, MANY, ("reorder",)),
    Case("rate", {"delay_ms": 5, "rate_mbit": 1, "queue_ms": 100}, Stream(600, 6000, 1000), ("rate", "queue")),
    Case("mtu", {"delay_ms": 1, "mtu_bytes": 1000}, Stream(50, 2000, 1200), ("oversize",)),
]


# userlink has its own tests on every machine; here it is what netem is compared with.
COMPARED = ("delay", "jitter", "jitter-pareto")
RUNS = [
    (backend, case)
    for case in GENTLE
    for backend in ("netem", "userlink")
    if backend == "netem" or case.name in COMPARED
]


@pytest.fixture(scope="module")
def seen() -> dict[tuple[str, str], Seen]:
    """Return what became of every case's stream on both backends; one worker for all, as Python starts slowly here."""
    work = [[backend, dict(case.spec), asdict(case.stream)] for backend, case in RUNS]
    argv = sandbox_argv([*python("tests.netem.guest.worker"), json.dumps(work)])
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    names = [(backend, case.name) for backend, case in RUNS]
    return {
        name: Seen(tuple(answer["sent_ns"]), tuple((number, at) for number, at in answer["arrived"]))
        for name, answer in zip(names, answers, strict=True)
    }


@pytest.mark.parametrize(("backend", "case"), RUNS, ids=lambda part: part if isinstance(part, str) else part.name)
def test_a_link_does_what_its_profile_says(backend: str, case: Case, seen: dict[tuple[str, str], Seen]) -> None:
    # Without anything random the delays can be foretold without a seed too.
    findings = judge(
        case, backend, seen[backend, case.name], seed=1, seeded=backend == "userlink" or case.name == "delay"
    )
    assert findings
    # What emulation adds to every delay shows in the link whose delay is fixed.
    cost_ms = median(seen[backend, "delay"].delays_ms) - 60 if (backend, "delay") in seen else 0.0
    assert [finding for finding in findings if not finding.ok and not _only_slow(finding, cost_ms)] == []


@pytest.mark.parametrize("name", ["jitter", "jitter-pareto"])
def test_netem_and_userlink_draw_from_the_same_distribution(name: str, seen: dict[tuple[str, str], Seen]) -> None:
    (finding,) = compare(name, {backend: seen[backend, name].delays_ms for backend in ("netem", "userlink")})
    assert finding.observed < 0.27, finding


def _only_slow(finding: Finding, cost_ms: float) -> bool:
    """Whether something is off by less than what software emulation costs; shares are never excused."""
    assert finding.declared is not None
    match finding.metric:
        case "delay_error_p50":
            return abs(finding.observed) < 10_000
        case "delay_error_p99" | "delay_deviation" | "delay_mean":
            # A guest that stands still for a moment has a tail, whatever the link does, and a tail moves a mean; the
            # distribution as a whole is judged below.
            return True
        case "ks_distance_to_model":
            return finding.observed < 0.3
        case "rate":
            # netem's bucket forgets what a standstill of more than its depth would have let through.
            return abs(finding.observed / finding.declared - 1) < 0.04
        case "overload_delay":
            return abs(finding.observed - finding.declared - cost_ms) < 6
    return False
