"""The independent recomputation agrees with a stored run, and finds what does not.

The run is a smoke scenario of this program (two trials); its evidence is kept as `overlaybench publish` keeps it, and
irtt's JSON besides.
"""

from __future__ import annotations

import ast
import io
import json
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.report.publish import keep_evidence, publish
from tests.recompute.check import Found, _compare, check
from tests.recompute.evidence import Run
from tests.recompute.figures import figures_of

HERE = Path(__file__).parent
RUN = HERE / "run"
TOLD = {
    *("hole_punch_success", "clock"),
    *("connect_success", "path", "loss_ratio", "oneway_loss_ratio", "rtt_min_ms", "rtt_p50_ms", "rtt_p95_ms"),
    *("rtt_max_ms", "owd_p50_ms", "ipdv_p50_ms", "underlay_rtt_p50_ms", "added_rtt_p50_ms", "tcp_throughput_mbit"),
    *("underlay_tcp_throughput_mbit", "tcp_throughput_ratio", "tcp_received_bytes", "tcp_sent_bytes"),
    *("tcp_retransmissions", "cpu_s_per_gb", "rss_mib", "summary.csv", "underlay_bytes_per_byte"),
    *("underlay_packets_per_mb", "server_bytes_per_byte"),
}


def test_nothing_is_imported_of_the_harness() -> None:
    for path in HERE.glob("*.py"):
        if path.name.startswith("test_"):
            continue
        imported = [
            node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Import | ast.ImportFrom)
        ]
        names = {alias.name for node in imported for alias in node.names} | {
            str(node.module) for node in imported if isinstance(node, ast.ImportFrom)
        }
        assert not {name for name in names if name.split(".")[0] in {"harness", "bench", "overlays"}}, path


def test_the_stored_run_agrees_in_every_figure_that_evidence_tells() -> None:
    found = check(RUN)
    assert found.differences == []
    assert set(found.compared) == TOLD
    assert found.compared["tcp_throughput_mbit"] == 4 and found.compared["path"] == 2


def copy_of(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    shutil.copytree(RUN, folder)
    with tarfile.open(folder / "evidence.tar.xz") as archive:
        for one in archive:
            path = folder / one.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.extractfile(one).read())  # type: ignore[union-attr]
    (folder / "evidence.tar.xz").unlink()
    return folder


@pytest.mark.parametrize("metric", sorted(TOLD - {"path", "summary.csv", "clock"}))
def test_a_wrong_record_is_found(tmp_path: Path, metric: str) -> None:
    folder = copy_of(tmp_path)
    assert check(folder).differences == []
    rows = Run(folder).records
    wrong = next(row for row in rows if row["metric"] == metric)
    wrong["value"] = wrong["value"] * 1.01 + 0.001
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert any(f" {metric}: recorded" in difference for difference in check(folder).differences)


def test_a_wrong_path_and_a_wrong_summary_are_found(tmp_path: Path) -> None:
    folder = copy_of(tmp_path)
    rows = Run(folder).records
    for row in rows:
        if row["metric"] == "connect_success":
            row["path"] = "relayed"
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    summary = (folder / "summary.csv").read_text()
    (folder / "summary.csv").write_text(summary.replace(",connect_success,runs,1,1,", ",connect_success,runs,1,0.5,"))
    found = check(folder).differences
    assert sum("recorded path relayed, the counters say direct" in one for one in found) == 2
    assert any("summary.csv" in one and "estimate 0.5, not 1.0" in one for one in found)


@pytest.mark.parametrize("metric", ["connect_success", "rtt_p50_ms", "loss_ratio", "tcp_throughput_ratio", "rss_mib"])
def test_a_record_that_is_gone_is_missed(tmp_path: Path, metric: str) -> None:
    folder = copy_of(tmp_path)
    rows = Run(folder).records
    rows.remove(next(row for row in rows if row["metric"] == metric and row["overlay"] == "refmesh"))
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert any(f" {metric}: no record, the evidence says" in one for one in check(folder).differences)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hole_punch_success": 0.0}, "hole_punch_success: recorded 0.0, the path was direct"),
        ({"time_to_connect_s": 99.0, "time_to_direct_s": 99.0}, "after the deadline of 6.0"),
        ({"time_to_direct_s": 1.4321}, "no answer came then"),
        ({"ready_to_direct_s": 0.3111}, "no answer came then"),
        ({"time_to_connect_s": 1.35}, "before it was connected"),
        ({"ready_to_connect_s": 3.0, "ready_to_direct_s": 3.0}, "from all being ready, which was later"),
    ],
)
def test_times_and_successes_that_cannot_be_are_found(tmp_path: Path, changes: dict[str, float], said: str) -> None:
    folder = copy_of(tmp_path)
    rows = Run(folder).records
    for row in rows:
        if row["overlay"] == "refmesh" and row["metric"] in changes:
            row["value"] = changes[row["metric"]]
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert any(said in one for one in check(folder).differences)


def _lose_every_tenth(text: str) -> str:
    head, *lines = text.splitlines()
    kept = [line if at % 10 else ",".join([*line.split(",")[:2], "", "", ""]) for at, line in enumerate(lines)]
    return "\n".join([head, *kept]) + "\n"


def _no_answer(text: str) -> str:
    head, *lines = text.splitlines()
    return "\n".join([head, *(line.rsplit(",", 1)[0] + "," for line in lines)]) + "\n"


def _more_bytes(text: str) -> str:
    return re.sub(r'"bytes":\s*', '"bytes": 1', text)


@pytest.mark.parametrize(
    ("name", "change", "metric"),
    [
        ("overlay-a-b-rtt.csv", _lose_every_tenth, "loss_ratio"),
        (
            "underlay-a-b-iperf3-forward.json",
            lambda text: text.replace('"bytes":\t', '"bytes":\t1'),
            "tcp_throughput_ratio",
        ),
        ("overlay-a-b-pings.csv", _no_answer, "connect_success"),
    ],
)
def test_evidence_that_says_otherwise_is_found(
    tmp_path: Path, name: str, change: Callable[[str], str], metric: str
) -> None:
    folder = copy_of(tmp_path)
    (path,) = folder.glob(f"trials/refmesh*/{name}")
    path.write_text(change(path.read_text()))
    assert any(f" {metric}: recorded" in difference for difference in check(folder).differences)


def test_a_published_folder_keeps_enough_and_no_key(tmp_path: Path) -> None:
    folder = copy_of(tmp_path)
    (folder / "summary.csv").unlink()
    for path in folder.glob("trials/*/job.json"):
        job: dict[str, Any] = json.loads(path.read_text())
        path.write_text(json.dumps(job | {"deployment": {"files": {"a": {"key": "SECRET"}}}}))
    (folder / "manifest.json").write_text(json.dumps({"schema": 2, "run": "r", "scenario": "smoke"}))
    (folder / "plan.json").write_text("[]")
    published = tmp_path / "published"
    publish(folder, published)
    with tarfile.open(published / "evidence.tar.xz") as archive:
        assert not any(b"SECRET" in archive.extractfile(one).read() for one in archive)  # type: ignore[union-attr]
    assert not (published / "records.jsonl").exists(), "a stranger has the table and the archive alone"
    found = check(published)
    assert found.differences == []
    assert set(found.compared) == TOLD - {"summary.csv"}
    twice = io.BytesIO((published / "evidence.tar.xz").read_bytes())
    keep_evidence(folder, published / "evidence.tar.xz")
    assert (published / "evidence.tar.xz").read_bytes() == twice.getvalue()


def test_an_underlay_that_another_host_measured_again_is_kept_and_told(tmp_path: Path) -> None:
    """As a run over many hosts leaves it when one is lost: the rest of its block has its baseline in `again-HOST`."""
    folder = copy_of(tmp_path)
    (folder / "summary.csv").unlink()
    again = folder / "trials" / "underlay_r1" / "again-rack2"
    (again / "nodes" / "a").mkdir(parents=True)
    (again / "nodes" / "a" / "x-cost.json").write_text("SECRET")
    for path in folder.glob("trials/refmesh*/underlay-*iperf3-*ward.json"):
        path.rename(again / path.name.replace("underlay-", "overlay-", 1))
    rows = Run(folder).records
    ways = {("a", "b"): "a-b-iperf3-forward", ("b", "a"): "a-b-iperf3-backward"}
    for row in rows:
        if row["metric"] == "underlay_tcp_throughput_mbit":
            row["evidence"] = f"trials/underlay_r1/again-rack2/overlay-{ways[row['src'], row['dst']]}.json"
    (folder / "records.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    keep_evidence(folder, folder / "evidence.tar.xz")
    shutil.rmtree(folder / "trials")
    found = check(folder)
    assert found.differences == []
    assert (found.compared["underlay_tcp_throughput_mbit"], found.compared["tcp_throughput_ratio"]) == (2, 2)
    with tarfile.open(folder / "evidence.tar.xz") as archive:
        assert not [one.name for one in archive if "nodes" in one.name]


def test_what_parties_leave_behind_is_recomputed_too(tmp_path: Path) -> None:
    """Three pairs at once, joining, sizes over time, an idle minute, a window with an edge: all by hand."""
    trial = tmp_path / "trials" / "t"
    trial.mkdir(parents=True)
    pairs = [("p1", "p2"), ("p1", "p3"), ("p2", "p3")]
    for (src, dst), megabytes in zip(pairs, (4, 2, 2), strict=True):
        stem = f"overlay-{src}-{dst}"
        end = {"sum_received": {"bytes": megabytes * 1e6, "seconds": 1.0}}
        (trial / f"{stem}-iperf3-at-once.json").write_text(json.dumps({"end": end}))
        pings = f"seq,ip_bytes,sent_s,answered_s\n0,500,1.0,\n1,600,1.5,{1.6 if dst == 'p2' else 2.1}\n"
        (trial / f"{stem}-pings.csv").write_text(pings)
    passed = {"p1": [[0.5, 100, True], [2.0, 50, False], [3.0, 999, True]], "p2": [[0.5, 10, True]], "p3": []}
    (trial / "handshake.json").write_text(json.dumps(passed))
    (trial / "overlay-p1-p2-mtu-watch.csv").write_text("at_s,carried_bytes\n0,1280\n3,1400\n6,1400\n")
    mtu = "## 1500 bytes, exit 1\n## 576 bytes, exit 0\n## 1400 bytes, exit 0\n## 1401 bytes, exit 1\n"
    (trial / "overlay-p1-p2-mtu-p1.log").write_text(mtu)
    used = {"p1": {"cpu_s": 1.0, "rss_mib": 10.0}}
    idle = {"lasted_s": 50.0, "before": used, "after": {"p1": {"cpu_s": 1.5, "rss_mib": 12.0}}}
    (trial / "idle.json").write_text(json.dumps(idle))
    readings = [
        {"received_bytes": got, "sent_bytes": sent, "usage": {}, "links": {}} for got, sent in ((0, 10), (1000, 1310))
    ]
    (trial / "overlay-cost.json").write_text(json.dumps([{"before": readings[0], "after": readings[1]}]))
    told = figures_of(Run(tmp_path), "t", pairs)
    assert told["concurrent_jain_index", None, None] == pytest.approx(64**2 / (3 * 1536))
    assert told["concurrent_tcp_share", "p1", "p2"] == 0.5
    assert told["handshake_bytes", None, None] == pytest.approx(160 / 3)
    assert told["handshake_server_bytes", None, None] == 110
    assert (told["path_mtu_bytes", "p1", "p2"], told["path_mtu_changes", "p1", "p2"]) == (1400, 1)
    assert told["idle_cpu_percent", None, None] == pytest.approx(1.0)
    assert told["tcp_edge_ratio", None, None] == pytest.approx(0.3)


def test_a_starved_pair_and_pairs_that_did_not_send_at_once(tmp_path: Path) -> None:
    trial = tmp_path / "trials" / "t"
    trial.mkdir(parents=True)
    pairs = [("p1", "p2"), ("p1", "p3"), ("p2", "p3")]

    def reading(at_s: float, received_bytes: int) -> dict[str, float]:
        return {"at_s": at_s, "received_bytes": received_bytes}

    rows = [
        {"src": "p1", "dst": "p2", "before": reading(1.0, 10**6), "after": reading(3.0, 9 * 10**6), "error": ""},
        {"src": "p1", "dst": "p3", "before": reading(1.0, 0), "after": reading(5.0, 4 * 10**6), "error": ""},
        {"src": "p2", "dst": "p3", "before": reading(1.0, 500), "after": None, "error": "timed out"},
    ]
    (trial / "overlay-at-once.json").write_text(json.dumps({"no_common_time": "", "pairs": rows}))
    told = figures_of(Run(tmp_path), "t", pairs)
    assert [told["concurrent_tcp_mbit", *pair] for pair in pairs] == [32.0, 8.0, 0.0]
    assert told["concurrent_jain_index", None, None] == pytest.approx(40**2 / (3 * (32**2 + 8**2)))
    (trial / "overlay-at-once.json").write_text(json.dumps({"no_common_time": "p2 to p3 began late", "pairs": rows}))
    assert not any("concurrent" in metric for metric, *_ in figures_of(Run(tmp_path), "t", pairs))
    old = [{"src": src, "dst": dst, "mbit": 1.0} for src, dst in pairs]
    (trial / "overlay-at-once.json").write_text(json.dumps([*old[:2], old[2] | {"mbit": 0.0, "error": "timed out"}]))
    end = {"end": {"sum_received": {"bytes": 1e6, "seconds": 1.0}}}
    for src, dst in pairs[:2]:
        (trial / f"overlay-{src}-{dst}-iperf3-at-once.json").write_text(json.dumps(end))
    assert figures_of(Run(tmp_path), "t", pairs)["concurrent_jain_index", None, None] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("recorded", "seen", "wrong"), [(None, None, 0), (1.5, None, 1), (None, 2.5, 1), (2.5, 2.5, 0)]
)
def test_what_never_came_by_the_evidence_is_compared_like_what_did(
    recorded: float | None, seen: float | None, wrong: int
) -> None:
    row = {"metric": "rounds_recovery_s", "src": None, "dst": None, "trial": "t", "value": recorded}
    found = Found()
    _compare(row, {("rounds_recovery_s", None, None): seen}, found)
    assert (len(found.differences), found.compared["rounds_recovery_s"]) == (wrong, 1)
