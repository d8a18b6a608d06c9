"""The independent recomputation agrees with a stored run, and finds what does not.

The run is a smoke scenario of this program (two trials); its evidence is kept as `bench.publish` keeps it, and irtt's
JSON besides.
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

from bench.publish import keep_evidence
from tests.recompute.check import check
from tests.recompute.evidence import Run

HERE = Path(__file__).parent
RUN = HERE / "run"
TOLD = {
    *("connect_success", "path", "loss_ratio", "oneway_loss_ratio", "rtt_min_ms", "rtt_p50_ms", "rtt_p95_ms"),
    *("rtt_max_ms", "owd_p50_ms", "ipdv_p50_ms", "underlay_rtt_p50_ms", "added_rtt_p50_ms", "tcp_throughput_mbit"),
    *("underlay_tcp_throughput_mbit", "tcp_throughput_ratio", "tcp_received_bytes", "tcp_sent_bytes"),
    *("tcp_retransmissions", "cpu_s_per_gb", "rss_mib", "summary.csv"),
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


@pytest.mark.parametrize("metric", sorted(TOLD - {"path", "summary.csv"}))
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
    for path in folder.glob("trials/*/job.json"):
        job: dict[str, Any] = json.loads(path.read_text())
        path.write_text(json.dumps(job | {"deployment": {"files": {"a": {"key": "SECRET"}}}}))
    published = tmp_path / "published"
    published.mkdir()
    keep_evidence(folder, published / "evidence.tar.xz")
    shutil.copy(folder / "records.jsonl", published)
    with tarfile.open(published / "evidence.tar.xz") as archive:
        assert not any(b"SECRET" in archive.extractfile(one).read() for one in archive)  # type: ignore[union-attr]
    found = check(published)
    assert found.differences == []
    assert set(found.compared) == TOLD - {"summary.csv", "oneway_loss_ratio"}
    twice = io.BytesIO((published / "evidence.tar.xz").read_bytes())
    keep_evidence(folder, published / "evidence.tar.xz")
    assert (published / "evidence.tar.xz").read_bytes() == twice.getvalue()
