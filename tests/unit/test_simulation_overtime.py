"""Networks over time: when is looked, runs that go on, and what a report makes of them for one server's many peers."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from harness.errors import ScenarioError
from harness.report.churn import churn_tables, read_churn, storm_of
from harness.report.tables import NOTHING
from harness.scenario.load import POPULATIONS
from harness.simulation import churn as churn_module
from harness.simulation import remote
from harness.simulation.churn import COLUMNS, moments, run_churn
from harness.simulation.contract import engines
from harness.simulation.load import load_population
from harness.simulation.networks import NetworksMissing, write_churn
from harness.simulation.population import Churn
from harness.simulation.state import state_bytes
from overlays.refmesh.simulation.engine import RefmeshNetwork

# Against what hangs; how long it takes is for the machine to say.
pytestmark = pytest.mark.timeout(300)
CHURN: dict[str, Any] = {
    **{"members": 3, "networks": 3, "peers": 900, "seconds": 40, "every_s": 10, "up_s": 30, "away_s": 5, "roam_s": 20},
    **{"start_within_s": 2, "server_down": {"at_s": 15, "for_s": 5, "look_for_s": 3}},
}
MIX: dict[str, Any] = {
    "description": "small",
    "access": {
        "strict": {"share": 0.5, "routers": ["port-restricted"], "link": {"jitter_ms": 3, "loss_percent": 1}},
        "symmetric": {"share": 0.5, "routers": [{"alias": "symmetric", "udp_lifetime_s": 30}]},
    },
    "matrix": {"technique": "birthday", "group": [2, 3]},
    **{"worlds": 2, "groups": 2, "deadline_s": 4, "churn": CHURN},
}


def written(folder: Path, **changes: Any) -> Path:
    path = folder / "small.yaml"
    path.write_text(yaml.safe_dump(MIX | changes, sort_keys=False))
    return path


class Counting:
    def __init__(self) -> None:
        self.done: list[int] = []

    def advance(self, worlds: int) -> None:
        """Remember."""
        self.done.append(worlds)


def test_it_is_looked_evenly_at_the_death_and_closely_after_the_return() -> None:
    assert moments(Churn.model_validate(CHURN)) == [10, 15, 20, 21, 22, 23, 30, 40]
    assert moments(Churn(members=2, seconds=25, every_s=10)) == [10, 20, 25]


@pytest.mark.parametrize("jobs", [1, 2])
def test_networks_that_have_ended_are_not_run_again(tmp_path: Path, jobs: int) -> None:
    loaded = load_population(str(written(tmp_path)), POPULATIONS)
    whole, cut = tmp_path / "whole.csv", tmp_path / "cut.csv"
    write_churn(loaded, whole, 1, Counting())
    text = whole.read_text()
    lines = text.splitlines(keepends=True)
    assert lines[0].rstrip().split(",") == list(COLUMNS)
    of_one = len(moments(Churn.model_validate(CHURN)))
    assert len(lines) == 1 + 3 * of_one
    # Killed in the middle of the second network's lines.
    cut.with_name("cut.csv.part").write_text("".join(lines[: 1 + of_one + 3]) + lines[1 + of_one + 3][:9])
    progress = Counting()
    write_churn(loaded, cut, jobs, progress)
    assert cut.read_text() == text
    assert progress.done == [1, 1, 1]
    assert not cut.with_name("cut.csv.part").exists()


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_network_that_ended_the_numbers_early_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    """StopIteration out of one looks like the end to `map`, and the file would have its header alone."""
    loaded = load_population(str(written(tmp_path)), POPULATIONS)
    monkeypatch.setattr("harness.simulation.networks.network_lines", ends)
    path = tmp_path / "churn.csv"
    with pytest.raises(NetworksMissing, match="0 of 3"):
        write_churn(loaded, path, jobs, Counting())
    assert not path.exists()


def ends(*_: Any) -> str:
    """Do as a generator that has come to its end."""
    raise StopIteration


def test_what_members_say_is_held_against_probes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    churn = {"members": 4, "seconds": 120, "every_s": 20, "up_s": 10_000, "start_within_s": 2}
    loaded = load_population(str(written(tmp_path, churn=churn, matrix={"technique": "birthday"})), POPULATIONS)
    assert loaded.population.churn is not None
    engine = engines()["refmesh"]
    samples = run_churn(loaded.population, loaded.population.churn, 0, engine)
    probed = sum(sample.probed or 0 for sample in samples)
    assert probed > 10
    assert sum(sample.probed_carried or 0 for sample in samples) >= 0.9 * probed  # each packet is lost in a hundred
    monkeypatch.setattr(RefmeshNetwork, "send", lambda *_: None)  # an engine that says direct and carries nothing
    samples = run_churn(loaded.population, loaded.population.churn, 0, engine)
    assert sum(sample.pairs_direct for sample in samples)
    assert sum(sample.probed or 0 for sample in samples) == probed
    assert not any(sample.probed_carried for sample in samples)


def test_who_sleeps_may_wake_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    churn = {"members": 3, "seconds": 300, "up_s": 1, "away_s": 1000, "roam_s": 60, "start_within_s": 1}
    loaded = load_population(str(written(tmp_path, churn=churn, matrix={"technique": "plain"})), POPULATIONS)
    assert loaded.population.churn is not None
    waiting, elsewhere = [], []
    comes = {"_wakes": churn_module._Network._wakes, "_restarts": churn_module._Network._restarts}
    for name, back in comes.items():

        def looks(network: Any, member: int, back: Any = back) -> None:
            moved, before = member in network._moved, network._hosts[member].address
            waiting.append(moved)
            back(network, member)
            elsewhere.append(network._hosts[member].address != before)

        monkeypatch.setattr(churn_module._Network, name, looks)
    for number in range(10):
        run_churn(loaded.population, loaded.population.churn, number, engines()["refmesh"])
    assert waiting == elsewhere
    assert any(elsewhere)


def test_a_matrix_of_several_with_networks_over_time_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"small.yaml:\d+: matrix\.technique: networks over time"):
        load_population(str(written(tmp_path, matrix={"technique": ["plain", "birthday"]})), POPULATIONS)


RUN = """
import sys
from pathlib import Path
from harness.scenario.load import POPULATIONS
from harness.simulation.load import load_population
from harness.simulation.run import prepare, simulate

class Silent:
    def advance(self, worlds):
        pass

loaded = load_population(sys.argv[1], POPULATIONS)
folder, left = prepare(loaded, Path(sys.argv[2]), resume=False)
simulate(loaded, folder, left, int(sys.argv[3]), Silent())
"""


ALL_SORTS: dict[str, Any] = {
    "strict": {"share": 0.3, "routers": ["port-restricted"], "link": {"jitter_ms": 3, "loss_percent": 1}},
    "carrier": {
        **{"share": 0.3, "routers": ["home-router", "cgn"], "together": {"share": 0.05}},
        "link": {"jitter_ms": 5, "reorders": True},
    },
    "dual": {"share": 0.2, "routers": [{"alias": "symmetric", "ipv6_filtering": "APDF"}], "ipv6": True},
    "mapping": {"share": 0.2, "routers": [{"alias": "symmetric", "port_mapping": ["upnp-igd", "nat-pmp", "pcp"]}]},
}


@pytest.mark.parametrize(
    "says",
    [
        {"churn": CHURN | {"networks": 2, "seconds": 25}},
        {
            **{"access": ALL_SORTS, "churn": CHURN | {"networks": 2, "seconds": 25, "up_s": 10}},
            "matrix": {"technique": "birthday", "port_mapping": True, "ipv6": True, "group": [2, 4]},
        },
        {"access": ALL_SORTS, "crypto": "real", "churn": None, "matrix": {"technique": "birthday", "group": [2, 3]}},
        {
            **{"access": ALL_SORTS, "churn": None},
            "matrix": {
                **{"technique": ["plain", "port-prediction"], "group": 2},
                "also": [{"technique": "peer-reflexive", "port_mapping": True, "ipv6": True}],
            },
        },
    ],
    ids=["over time", "every sort of access", "real crypto", "further conditions"],
)
def test_a_run_is_the_same_bytes_at_every_number_of_jobs_and_under_any_hash_seed(
    tmp_path: Path, says: dict[str, Any]
) -> None:
    path = written(tmp_path, worlds=1, groups=1, **says)
    found = []
    for jobs in (1, 3):
        out = tmp_path / f"jobs{jobs}"
        argv = [sys.executable, "-c", RUN, str(path), str(out), str(jobs)]
        environment = {**os.environ, "PYTHONHASHSEED": str(jobs)}
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=250)
        assert done.returncode == 0, done.stderr
        names = ["records.jsonl", "population.json", "plan.json"] + (["churn.csv"] if says["churn"] else [])
        found.append({name: (out / name).read_bytes() for name in names})
    for name, data in found[0].items():
        assert data == found[1][name], name


def test_the_load_of_many_networks_is_that_of_one_times_their_number(tmp_path: Path) -> None:
    rows = [
        {"network": network, "at_s": at, "server_up": int(at != 200), "members_up": 5, "pairs": 10}
        | {"pairs_connected": 10, "pairs_direct": 9, "pairs_settled": 10, "settled_connected": 10}
        | {"server_messages": 0, "server_bytes": 0, "member_messages": 0, "member_bytes": 0, "events": 0}
        | {"server_received": received, "server_received_bytes": 0, "server_state_bytes": 50_000}
        for network in (0, 1)
        for at, received in ((100, 0), (190, 90 + 90 * network), (200, 10), (201, 7), (203, 2), (300, 0), (400, 0))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "churn.csv", index=False)
    frame = read_churn(tmp_path)
    assert frame is not None
    storm = storm_of(frame, networks=200.0)
    assert storm["received_per_s"].tolist() == [1400.0, 200.0]  # 7 in a second and 2 in two, times 200
    assert storm["since_return_s"].tolist() == [1.0, 3.0]
    _, of_all = churn_tables(frame, {"peers": 1000, "members": 5})
    figures = dict(of_all.rows)
    # Quiet are the second sample (90 s: 90 and 180 messages) and the last (100 s: none); the others begin or return.
    assert figures["received (messages/s)"].startswith("142 ")
    assert figures["largest rate received after its return (messages/s)"] == "1,400"
    assert figures["state (MB)"].startswith("10 ")


def test_no_start_counts_as_quiet(tmp_path: Path) -> None:
    """Members of `day-of-fives` start within ten minutes, of which it looks every five."""
    rows = [
        dict.fromkeys(COLUMNS, 0)
        | {"at_s": at, "server_up": 1, "members_up": 5, "server_received": received, "member_messages": received}
        for at, received in ((300, 9000), (600, 9000), (900, 3000), (1200, 300), (1500, 600))
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "churn.csv", index=False)
    frame = read_churn(tmp_path)
    assert frame is not None
    settings = {"peers": 10, "members": 5}
    for start_within_s, receives in ((600.0, "1.50, at most 2.0"), (200.0, "10.75, at most 30.0")):
        of_networks, of_all = churn_tables(frame, settings | {"start_within_s": start_within_s})
        assert dict(of_networks.rows)["received by a server (messages/s)"] == receives
        assert dict(of_all.rows)["received (messages/s)"] == f"{2 * float(receives.split(',')[0]):.3g}"
        assert f"first {start_within_s + 60:g} s" in of_networks.note


def test_a_run_without_any_quiet_time_has_no_quiet_rate(tmp_path: Path) -> None:
    """It is over before all have found each other; the storm was `nan` times the quiet rate."""
    rows = [
        dict.fromkeys(COLUMNS, 0) | {"at_s": at, "server_up": int(at != 20), "members_up": 5, "server_received": 10}
        for at in (10, 20, 21, 30)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "churn.csv", index=False)
    frame = read_churn(tmp_path)
    assert frame is not None
    of_networks, of_all = churn_tables(frame, {"peers": 10, "members": 5, "start_within_s": 10.0})
    figures = dict(of_all.rows)
    assert figures["largest rate received after its return (messages/s)"] == "20"
    assert figures["that rate as a multiple of the usual rate"] == figures["received (messages/s)"] == NOTHING
    assert dict(of_networks.rows)["received by a server (messages/s)"] == NOTHING
    assert "nan" not in str((of_networks.rows, of_all.rows))


def test_a_bundled_population_is_named_as_the_user_would_type_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(POPULATIONS.parents[1])
    # What is published holds no folder of the machine that made it.
    assert load_population("field", POPULATIONS).document.file == "scenarios/populations/field.yaml"


def test_fewer_peers_than_are_simulated_are_refused_with_their_line(tmp_path: Path) -> None:
    path = written(tmp_path, churn=CHURN | {"peers": 8})
    with pytest.raises(ScenarioError) as caught:
        load_population(str(path), POPULATIONS)
    (problem,) = caught.value.problems
    assert path.read_text().splitlines()[problem.line - 1].startswith("  peers: 8")
    assert (problem.file, problem.field) == (str(path), "churn.peers")
    assert "fewer than the 9" in problem.text


def test_a_host_of_another_python_is_refused_by_name(tmp_path: Path) -> None:
    """What a server remembers is counted in Python's objects, whose sizes are its version's."""
    population = load_population(str(written(tmp_path)), POPULATIONS).population.model_dump(mode="json")
    said = {**remote._program(), "what": "networks", "population": population, "numbers": []}
    assert json.loads(remote.work_on(json.dumps(said))) == []
    for other in ({"python": "CPython 3.10.1, 64 bit"}, {"python": None}):
        answer = json.loads(remote.work_on(json.dumps(said | other)))
        assert f"python there is CPython {platform.python_version()}" in answer["error"]
        assert f"here {other['python']}" in answer["error"]


def test_state_is_counted_once_and_without_the_program() -> None:
    big = bytes(100_000)
    assert 100_000 < state_bytes([big, [big, big], {"a": big}]) < 102_000
    assert state_bytes([pytest, Path, written]) < 1_000
