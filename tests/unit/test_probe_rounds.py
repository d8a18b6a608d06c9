"""Computations in rounds: the parties' program on loopback, its logs, and the figures that come of known ones."""

from __future__ import annotations

import math
import re
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from held_port import hold_port

from harness.errors import MissingPrerequisite
from harness.lab.process import Usage
from harness.link.accounting import Accounting, DirectionCounts
from harness.machine import requirements
from harness.machine.requirements import require_for
from harness.probes.alltoall import Computed, RoundsSettings, summarise_workload
from harness.probes.gathering import PROGRAM, Gathering
from harness.probes.mpyc_log import Ran, read_runs
from harness.probes.mpyc_party import is_steady
from harness.probes.mpyc_runs import summarise_program
from harness.probes.roundlog import PartyLog, Round, begin_of, read_party, rounds_of, rounds_text
from harness.probes.steady import Reading, Window
from harness.results.judging import values_of
from harness.scenario.planned import plan_trials

NAMES = ("p1", "p2", "p3")

needs_program = pytest.mark.skipif(
    not PROGRAM.exists(), reason="no compiler when this was set up: no overlaybench-party"
)


@contextmanager
def parties(folder: Path, count: int, payload_bytes: int, rounds: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Parties on loopback, all connected."""
    held, ports = zip(*(hold_port() for _ in range(count)), strict=True)
    running = []
    for own in range(count):
        words = ["listen", "127.0.0.1", str(ports[own])]
        for other in range(own + 1, count):
            words += ["connect", str(other), "127.0.0.1", str(ports[other])]
        head = [str(PROGRAM), str(own), str(count), str(folder / f"{own}.bin"), str(payload_bytes), str(rounds)]
        running.append(subprocess.Popen([*head, *words], stdout=subprocess.PIPE, text=True))
    try:
        for one in running:
            assert one.stdout is not None and one.stdout.readline() == "connected\n"
        yield running
    finally:
        for one in running:
            one.kill()
            one.communicate()
        for port in held:
            port.close()


def logs_of(folder: Path, said: Sequence[str]) -> list[PartyLog]:
    names = [f"p{number + 1}" for number in range(len(said))]
    return [
        read_party(name, names, text, (folder / f"{number}.bin").read_bytes())
        for number, (name, text) in enumerate(zip(names, said, strict=True))
    ]


@needs_program
@pytest.mark.parametrize(("count", "payload_bytes", "rounds"), [(2, 1, 50), (5, 32, 200), (3, 700_000, 5)])
def test_parties_do_all_rounds_and_end(tmp_path: Path, count: int, payload_bytes: int, rounds: int) -> None:
    with parties(tmp_path, count, payload_bytes, rounds) as running:
        for one in running:
            one.send_signal(signal.SIGUSR1)
        said = [one.communicate(timeout=30)[0] for one in running]
    logs = logs_of(tmp_path, said)
    found = rounds_of(logs)
    assert len(found) == rounds
    assert [len(log.finished) for log in logs] == [rounds] * count
    begin_s = begin_of(logs)
    assert begin_s is not None
    assert sum(one.duration_s for one in found) == pytest.approx(found[-1].finished_s - begin_s, abs=1e-6)
    assert all(one.duration_s > 0 for one in found)
    assert {log.user_us is not None and not log.lost for log in logs} == {True}


@needs_program
def test_a_party_that_dies_is_told_and_waited_for(tmp_path: Path) -> None:
    with parties(tmp_path, 3, 32, 0) as running:
        for one in running:
            one.send_signal(signal.SIGUSR1)
        assert running[1].stdout is not None and running[1].stdout.readline().startswith("began ")
        running[0].kill()
        assert running[1].stdout.readline().startswith("lost 0 "), "told at once"
        assert running[2].stdout is not None
        assert [running[2].stdout.readline().split()[0] for _ in range(2)] == ["began", "lost"]
        assert running[1].poll() is None, "and it goes on waiting"
        # What the third party had sent before may still arrive: all is there when the rounds stand still.
        seen, log = b"", tmp_path / "1.bin"
        while seen != (seen := log.read_bytes()):
            time.sleep(0.2)
        running[1].send_signal(signal.SIGTERM)
        assert running[1].stdout.readline().split()[:2] == ["waits", "0"]
        assert running[1].wait(10) == 0


@needs_program
def test_a_carrier_that_accepts_and_says_nothing_is_not_taken_for_a_party(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = str(deaf.getsockname()[1])
        argv = [str(PROGRAM), "0", "2", str(tmp_path / "0.bin"), "32", "1", "connect", "1", "127.0.0.1", port]
        running = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        accepted, _ = deaf.accept()
        assert accepted.recv(8).startswith(b"RND1"), "it has greeted"
        running.send_signal(signal.SIGTERM)
        said = running.communicate(timeout=10)[0]
        accepted.close()
    assert "connected" not in said


def log(name: str, began_s: float, ends: Sequence[float], last: Sequence[int]) -> PartyLog:
    said = f"connected\nbegan {round(began_s * 1e9)}\nrounds {len(ends)} user_us 300 system_us 50\n"
    data = b"".join(struct.pack("=qq", round(end * 1e9), who) for end, who in zip(ends, last, strict=True))
    return read_party(name, NAMES, said, data + bytes(64))


def test_a_round_is_as_long_as_its_last_party() -> None:
    logs = [
        log("p1", 10.0, [10.1, 10.3], [1, 2]),
        log("p2", 10.05, [10.2, 10.25], [0, 0]),
        log("p3", 10.0, [10.15, 10.4, 10.5], [2, 1, 1]),
    ]
    found = rounds_of(logs)
    assert [(one.party, one.waited_for) for one in found] == [("p2", "p1"), ("p3", "p2")]
    assert [one.duration_s for one in found] == pytest.approx([0.15, 0.2], abs=1e-6)
    assert rounds_text(begin_of(logs), found).splitlines()[1] == "1,10.0500000,10.2000000,p2,p1"


def test_a_party_that_never_began_leaves_no_round() -> None:
    assert rounds_of([log("p1", 1.0, [1.5], [0]), read_party("p2", NAMES, "", b"")]) == []


def computed(durations_s: Sequence[float], planned: int, waited_for: str = "p1") -> Computed:
    """Return rounds that took so long, 3 parties; the server sent 4,200 IP bytes for 3,000 that were useful."""
    end_s, rounds = 100.0, []
    for lasted_s in durations_s:
        end_s += lasted_s
        rounds.append(Round(end_s, lasted_s, "p2", waited_for))

    def account(octets: int) -> Accounting:
        way = DirectionCounts(sent=octets // 700, sent_bytes=octets + 14 * (octets // 700))
        return Accounting(backend="x", counts={"s-internet": {"up": way}, "r1-internet": {"up": way}})

    before = Reading(100.0, 0, {"s": Usage(1.0, 5.0)}, account(0))
    after = Reading(end_s, 3000, {"s": Usage(1.25, 5.0)}, account(4200))
    logs = tuple(PartyLog(name, 100.0, (), (), 4000, 1000) for name in NAMES)
    places = {"server": frozenset({"s-internet"}), "members": frozenset({"r1-internet"})}
    window = Window("x", before, after)
    return Computed("bulk", planned, 100.0, tuple(rounds), logs, window, places, "s", "overlay-bulk-rounds.csv")


def figures(found: Iterator[Any]) -> dict[str, float | None]:
    return {one.metric: one.value for one in found}


def test_the_figures_of_a_workload_are_those_of_its_rounds() -> None:
    below = computed([0.5] * 20, 20)
    found = figures(summarise_workload(computed([1.0] * 19 + [6.0], 20), below, {("p1", "p2"): False}))
    assert found["bulk_completion_s"] == pytest.approx(25.0)
    assert found["bulk_underlay_ratio"] == pytest.approx(2.5)
    assert found["bulk_round_p50_ms"] == pytest.approx(1000)
    assert found["bulk_round_p95_ms"] == pytest.approx(1000)
    assert found["bulk_server_bytes_per_byte"] == pytest.approx(1.4)
    assert found["bulk_member_bytes_per_byte"] == pytest.approx(1.4)
    assert found["bulk_server_cpu_s"] == pytest.approx(0.25)
    assert found["bulk_waited_relayed_ratio"] == 1.0
    assert found["bulk_probe_cpu_ms"] == pytest.approx(3 * 4 / 20)
    assert found["bulk_probe_kernel_ms"] == pytest.approx(3 * 1 / 20)


def test_rounds_that_were_not_done_took_for_ever() -> None:
    found = figures(summarise_workload(computed([1.0] * 8, 20), None, {}))
    assert found["bulk_completion_s"] is None and found["bulk_rounds_done"] == 8
    assert found["bulk_round_p50_ms"] is None and found["bulk_round_p95_ms"] is None
    assert "bulk_underlay_ratio" not in found and "bulk_waited_relayed_ratio" not in found
    assert "bulk_server_bytes_per_byte" not in found, "half a round's bytes are in what the links carried"


def test_what_was_not_done_stays_in_the_estimate_over_trials() -> None:
    below = computed([0.5] * 20, 20)
    trials = [figures(summarise_workload(computed([1.0] * done, 20), below, {})) for done in (20, 8, 8)]
    for metric in ("bulk_completion_s", "bulk_underlay_ratio", "bulk_round_p50_ms", "bulk_round_p95_ms"):
        rows = [
            {"trial": str(at), "metric": metric, "src": None, "dst": None, "outcome": "ok", "value": found[metric]}
            for at, found in enumerate(trials)
        ]
        assert values_of(metric, rows)[0][1:] == [math.inf, math.inf], metric


def test_sizes_of_ones_own_are_a_condition() -> None:
    assert RoundsSettings().conditions() == {}
    settings = RoundsSettings(rounds={"bulk": 2}, payload_bytes={"chatty": 64})
    assert settings.conditions() == {"bulk_rounds": 2, "chatty_payload_bytes": 64}
    assert settings.size_of("bulk") == (500_000, 2) and settings.size_of("chatty") == (64, 150)


def test_a_median_is_steady_when_its_interval_is_narrow() -> None:
    assert not is_steady([1.0, 1.0], 0.1)
    assert is_steady([1.0] * 6, 0.1)
    assert not is_steady([1.0, 2.0] * 10, 0.1)
    assert is_steady([1.0 + 0.001 * step for step in range(50)], 0.1)


def test_mpycs_output_is_read_whatever_else_is_in_it() -> None:
    runs = ['{"elapsed_s": 0.5, "bytes_sent": 100}', '{"elapsed_s": 0.7, "bytes_sent": 300}']
    text = "\n".join(['{"mpyc": "0.11"}', "Warning: x", *runs, "[1]", '{"ela'])
    assert read_runs(text) == ((0.5, 0.7), (100, 300))
    ran, below = (Ran("derangement", times, (100, 300), "x") for times in ((0.5, 0.7), (0.2, 0.2)))
    found = figures(summarise_program(ran, below))
    assert found["mpyc_derangement_s"] == pytest.approx(0.6)
    assert found["mpyc_derangement_underlay_ratio"] == pytest.approx(3.0)
    assert found["mpyc_derangement_runs"] == 2 and found["mpyc_derangement_sent_bytes"] == 200
    hung = figures(summarise_program(Ran("derangement", (0.5,), (100,), "x", "not done after 60 s"), below))
    assert hung["mpyc_derangement_s"] is None and hung["mpyc_derangement_underlay_ratio"] is None, "one of two never"
    never = figures(summarise_program(Ran("derangement", (), (), "x", "not done after 1 s"), None))
    assert never["mpyc_derangement_s"] is None and not math.isnan(never["mpyc_derangement_runs"] or 0)


@pytest.mark.parametrize(
    ("probe", "looked_up", "said"),
    [
        ("mpyc", "harness.probes.mpyc_runs.find_spec", "Python package gmpy2.*pip install -c constraints.txt -e"),
        ("rounds", "harness.probes.alltoall.os.access", "program overlaybench-party.*apt-get install -y gcc"),
    ],
)
def test_what_the_machine_lacks_is_told_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probe: str, looked_up: str, said: str
) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"description: x\ntopology: parties\noverlays: {{underlay: }}\nprobes: [{probe}]\n")
    trials = plan_trials(str(file)).trials
    monkeypatch.setattr(requirements, "require_machine", lambda _overlays: None)
    require_for(trials, {})
    monkeypatch.setattr(looked_up, lambda *_: None)
    with pytest.raises(MissingPrerequisite) as error:
        require_for(trials, {})
    assert re.search(said, f"{error.value.missing} {error.value.remedy}")


class EndsBetweenLooks:
    """A party that runs when it is asked first, and has ended when it is asked again."""

    status, tail = 0, ""

    def __init__(self) -> None:
        self._asked = 0

    @property
    def alive(self) -> bool:
        self._asked += 1
        return self._asked == 1

    def wait(self, _timeout_s: float) -> int:
        return 0


def test_parties_that_end_between_two_looks_are_waited_for_no_longer() -> None:
    gathering = Gathering.__new__(Gathering)
    gathering.daemons = {"a": EndsBetweenLooks()}  # type: ignore[dict-item]
    gathering.wait(10.0)
