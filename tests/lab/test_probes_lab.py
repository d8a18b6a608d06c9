"""Probes against links whose answer is known: through the real command line and the real programs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from tests.lab.late_trials import require_no_worse_than_late
from tests.lab.running import overlaybench

pytestmark = pytest.mark.lab

SCENARIO = """\
description: links of which the answers are known
topology: two-sites
params:
  nat_a: {nat_a}
  nat_b: full-cone
  link_a: {link_a}
  link_b: {link_b}
overlays: {{underlay: }}
probes:
{probes}
"""


ON_ONE_SEGMENT = """\
description: two hosts on lines of PPPoE
topology: flat-lan
params: {link: {mtu_bytes: 1492, delay_ms: 1, rate_mbit: 50, queue_ms: 20}}
overlays: {underlay: }
probes:
  path: {deadline_s: 10}
  mtu: {attempts: 2, timeout_s: 0.3}
  throughput: {duration_s: 1, omit_s: 0}
"""


def figures(
    tmp_path: Path, link_a: str, link_b: str, probes: str, nat_a: str = "full-cone"
) -> dict[tuple[str, str | None], float | None]:
    """Metric and source -> value, of the trial's records."""
    (tmp_path / "s.yaml").write_text(SCENARIO.format(nat_a=nat_a, link_a=link_a, link_b=link_b, probes=probes))
    done = overlaybench("run", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "run"), "--no-report")
    require_no_worse_than_late(done, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    assert {row["probe"] for row in rows} >= set(yaml.safe_load(probes)), rows[-1]["error"]
    assert all(row["outcome"] in ("ok", "invalid") for row in rows), rows[-1]["error"]
    for row in rows:
        assert row["evidence"] is None or (tmp_path / "run" / row["evidence"]).exists(), row
    return {(row["metric"], row["src"]): row["value"] for row in rows}


def test_a_link_that_swallows_large_packets_is_a_black_hole(tmp_path: Path) -> None:
    probe = "  mtu: {attempts: 2, timeout_s: 0.3}"
    found = figures(tmp_path, "{delay_ms: 1, mtu_bytes: 1300}", "ideal", probe, "mtu-black-hole")
    for member in ("a", "b"):
        assert found["offered_mtu_bytes", member] == 1500
        assert found["path_mtu_bytes", member] == 1300
        assert found["pmtu_black_hole", member] == 1


def test_a_router_says_what_its_line_does_not_carry_and_tcp_gets_through(tmp_path: Path) -> None:
    probes = """\
  mtu: {attempts: 2, timeout_s: 0.3}
  throughput: {duration_s: 1, omit_s: 0}
"""
    found = figures(tmp_path, "{preset: pppoe, delay_ms: 1, rate_mbit: 50, queue_ms: 20}", "ideal", probes)
    for member in ("a", "b"):
        assert found["offered_mtu_bytes", member] == 1500
        assert found["path_mtu_bytes", member] == 1492
        assert found["pmtu_black_hole", member] == 0
        assert (found["tcp_throughput_mbit", member] or 0) > 20


def test_a_host_knows_its_narrow_line_and_its_neighbours_do(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(ON_ONE_SEGMENT)
    done = overlaybench("run", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "run"), "--no-report")
    require_no_worse_than_late(done, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    found = {(row["metric"], row["src"]): row["value"] for row in rows}
    for member in ("a", "b"):
        assert found["path_mtu_bytes", member] == 1492 and found["pmtu_black_hole", member] == 0
        assert (found["tcp_throughput_mbit", member] or 0) > 20


@pytest.mark.waits
@pytest.mark.timeout(400)
@pytest.mark.parametrize(
    ("link", "overlay"),
    [
        pytest.param("geo-satellite", "refmesh: mesh", id="long"),
        pytest.param(
            "{delay_ms: 10, loss_percent: 20, rate_mbit: 20, queue_ms: 100}",
            "openvpn: hub",
            id="lossy",
            marks=pytest.mark.nightly,  # takes minutes; unit tests hold what is done there
        ),
    ],
)
def test_a_path_that_answers_is_one_and_its_underlay_carries(link: str, overlay: str, tmp_path: Path) -> None:
    """Both sides: 1.2 s there and back; or a fifth lost four times, of which iperf3's control connection dies."""
    (tmp_path / "s.yaml").write_text(f"""\
description: paths that are long, or lose much
topology: two-sites
params: {{nat_a: full-cone, nat_b: port-restricted, link_a: {link}, link_b: {link}}}
overlays: {{underlay: , {overlay}}}
probes:
  path: {{deadline_s: 60}}
  throughput: {{duration_s: 3, omit_s: 1}}
""")
    done = overlaybench("run", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "run"), "--no-report", timeout_s=380)
    rows = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    # A busy machine delivers late, which makes a trial invalid and leaves its figures; never is the underlay blamed.
    said = {row["overlay"]: (row["outcome"], row["error"]) for row in rows if row["probe"] == "trial"}
    assert all(
        outcome in ("ok", "invalid") and "nothing to compare" not in (error or "") for outcome, error in said.values()
    ), said
    found = {(row["overlay"], row["metric"], row["src"]): row for row in rows}
    for name in ("underlay", overlay.partition(":")[0]):
        assert found[name, "connect_success", "a"]["path"] in ("direct", "relayed"), (said, done.stderr)
        for member in ("a", "b"):
            assert (found[name, "tcp_throughput_mbit", member]["value"] or 0) > 0


@pytest.mark.parametrize(
    "probe",
    [
        pytest.param("throughput: {duration_s: 1, omit_s: 0}", marks=pytest.mark.nightly),
        "rounds: {workloads: [bulk], rounds: {bulk: 2}, payload_bytes: {bulk: 20000}, deadline_s: 3}",
        pytest.param("stream: {connections: 1, duration_s: 0.2, integrity_mb: 0.1}", marks=pytest.mark.nightly),
        pytest.param("fairness: {duration_s: 1, omit_s: 0}", marks=pytest.mark.nightly),
    ],
    ids=lambda probe: probe.partition(":")[0],
)
@pytest.mark.timeout(240)
def test_an_underlay_that_carries_nothing_is_not_ok(tmp_path: Path, probe: str) -> None:
    """The door is one for all probes (harness.trial.underlay); what each takes for dead is test_probe_carries.py's."""
    # Our own sender, which throughput asks after iperf3, waits for TCP to try again: 15 s for each pair that is dead.
    members = 2 if probe.startswith("throughput") else 3
    text = f"""\
description: a router whose line swallows full segments
topology: parties
params: {{n: {members}, nat: full-cone, nats: {{p1: mtu-black-hole}}, links: {{p1: {{delay_ms: 1, mtu_bytes: 1300}}}}}}
overlays: {{underlay: , refmesh: mesh}}
probes:
  path:
  {probe}
"""
    (tmp_path / "s.yaml").write_text(text)
    overlaybench("run", str(tmp_path / "s.yaml"), "--out", str(tmp_path / "run"), "--no-report", timeout_s=200)
    rows = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    said = {row["overlay"]: (row["outcome"], row["error"]) for row in rows if row["probe"] == "trial"}
    assert said["underlay"][0] == "failed", said
    assert said["refmesh"][0] == "invalid", said
    assert all("the underlay carried" in error for _, error in said.values()), said


def test_an_honest_link_carries_what_its_interface_takes(tmp_path: Path) -> None:
    found = figures(tmp_path, "{delay_ms: 1}", "ideal", "  mtu:")
    assert [found["path_mtu_bytes", member] for member in ("a", "b")] == [1500, 1500]
    assert [found["pmtu_black_hole", member] for member in ("a", "b")] == [0, 0]


def test_load_shows_in_the_queue_and_the_rate_in_what_passes(tmp_path: Path) -> None:
    probes = """\
  latency: {duration_s: 1}
  throughput: {duration_s: 2, omit_s: 1, both: true}
  loaded_latency: {duration_s: 1}
  udp: {max_mbit: 25, resolution_percent: 10}"""
    slow = "{delay_ms: 5, rate_mbit: 20, queue_ms: 60}"
    found = figures(tmp_path, slow, "{delay_ms: 5}", probes)
    for member in ("a", "b"):
        # 1,200 bytes of payload are 1,242 on the wire, so 19.3 Mbit/s of 20 at the most; the search ends within 10 %,
        # and the last 60 ms of what was sent may still stand in the queue when goodput is counted.
        assert 17.0 <= (found["udp_goodput_mbit", member] or 0) <= 19.4
        assert 0 < (found["tcp_throughput_both_mbit", member] or 0) <= 20
        assert found["oneway_loss_ratio", member] == 0
    assert 5 <= (found["rtt_rise_p50_ms", "a"] or 0) <= 130  # two queues of 60 ms
    median_ms, high_ms = (found[f"loaded_rtt_{which}_ms", "a"] for which in ("p50", "p95"))
    # None: the full queue has dropped more than one ping in twenty, and what is lost counts as infinite.
    assert median_ms is not None and median_ms > 20 and (high_ms is None or high_ms >= median_ms)
    # 1,500 bytes carry 1,448 of payload; acknowledgements and what is sent again come on top.
    assert 1.036 <= (found["underlay_bytes_per_byte", None] or 0) <= 1.5
    assert (found["underlay_packets_per_mb", None] or 0) >= 690


PARTIES = """\
description: three parties at once
topology: parties
params: {n: 3}
overlays: {refmesh: mesh}
probes:
  path:
  handshake:
  mtu_watch: {duration_s: 1, every_s: 0.5, attempts: 2, timeout_s: 0.3}
  fairness: {duration_s: 1, omit_s: 0}
"""


def test_parties_join_and_share_and_their_paths_stay_as_large(tmp_path: Path) -> None:
    (tmp_path / "parties.yaml").write_text(PARTIES)
    done = overlaybench("run", str(tmp_path / "parties.yaml"), "--out", str(tmp_path / "run"), "--no-report")
    require_no_worse_than_late(done, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "records.jsonl").read_text().splitlines()]
    for row in rows:
        assert row["evidence"] is None or (tmp_path / "run" / row["evidence"]).exists(), row
    found: dict[str, list[float]] = {}
    for row in rows:
        found.setdefault(row["metric"], []).append(row["value"])
    # A certificate and a key exchange with each of two peers take some hundred bytes at least, and no megabyte.
    assert 500 < found["handshake_bytes"][0] < 1_000_000
    assert 0 < found["handshake_server_bytes"][0] < 3 * found["handshake_bytes"][0]
    assert found["handshake_ping_bytes"][0] >= 300
    assert len(found["concurrent_tcp_share"]) == 3 and sum(found["concurrent_tcp_share"]) == pytest.approx(1)
    assert 1 / 3 <= found["concurrent_jain_index"][0] <= 1
    assert 1 / 3 <= found["underlay_concurrent_jain_index"][0] <= 1
    assert found["path_mtu_first_bytes"] == found["path_mtu_last_bytes"] and len(found["path_mtu_last_bytes"]) == 3
    assert found["path_mtu_changes"] == [0, 0, 0]
