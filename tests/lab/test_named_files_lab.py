"""Adapters named by their file in real labs: the page's example keeps the contract, a skeleton runs in a scenario."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.lab.running import overlaybench, records

pytestmark = [pytest.mark.lab, pytest.mark.waits]
DOCS = Path(__file__).resolve().parents[2] / "docs" / "own-daemon.md"


def example() -> str:
    """Return the whole adapter on the page."""
    (found,) = re.findall(r"```yaml\n(name: .*?)```", DOCS.read_text(), re.DOTALL)
    return str(found)


def test_the_example_on_the_page_keeps_the_contract(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(example())
    done = overlaybench("contract", "./mine.yaml", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("my-wireguard hub: keeps the contract (")


def test_what_a_daemon_breaks_is_told_by_the_contract_test(tmp_path: Path) -> None:
    text = example().replace(
        "persistent-keepalive 15", "persistent-keepalive 15\n          && ip route add blackhole 10.21.0.3"
    )
    (tmp_path / "mine.yaml").write_text(text)
    done = overlaybench("contract", "./mine.yaml", "--out", "kept", cwd=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "my-wireguard hub: BROKEN: a's pings to b's overlay address are not answered" in done.stdout
    assert (tmp_path / "kept" / "my-wireguard-hub" / "mine" / "members.pcapng").is_file()


def test_a_skeleton_runs_in_a_scenario_and_its_file_is_kept(tmp_path: Path) -> None:
    assert overlaybench("new", "overlay", "vpn", cwd=tmp_path).returncode == 0
    (tmp_path / "mine.yaml").write_text(
        "description: mine\ntopology: two-sites\noverlays: {./vpn.py:Vpn: hub}\nprobes: {path: {deadline_s: 8}}\n"
        "expect: [{when: {overlay: vpn}, path: relayed}]\n"
    )
    done = overlaybench("run", "mine.yaml", "--out", "run", "--no-report", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert {one["overlay"] for one in records(tmp_path / "run")} == {"vpn"}
    kept = json.loads((tmp_path / "run" / "manifest.json").read_text())["adapters"]["vpn"]
    assert (tmp_path / "run" / kept["copy"]).read_text() == (tmp_path / "vpn.py").read_text()
