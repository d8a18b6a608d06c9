"""Mininet's users' own topologies, and its CLI."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.lab.running import OVERLAYBENCH, machine_state, overlaybench, processes_naming, records, without_privileges

pytestmark = [pytest.mark.lab, pytest.mark.waits]
HERE = Path(__file__).parent


def run_topo(tmp_path: Path, name: str, extra: str = "") -> list[dict[str, object]]:
    shutil.copy(HERE / "example_topos.py", tmp_path)
    scenario = tmp_path / "mine.yaml"
    scenario.write_text(
        f"description: a Mininet class\ntopology: {{use: 'example_topos:{name}', members: [h1, h2]}}\n"
        f"overlays: {{underlay: }}\nprobes: {{path: {{}}, latency: {{duration_s: 0.5}}}}\n{extra}"
    )
    out = tmp_path / "run"
    done = overlaybench("run", str(scenario), "--out", str(out), "--no-report")
    assert done.returncode == 0, done.stderr
    return records(out)


def value(lines: list[dict[str, object]], metric: str) -> float:
    (found,) = (line["value"] for line in lines if line["metric"] == metric)
    assert isinstance(found, float)
    return found


def test_a_topo_class_is_a_topology(tmp_path: Path) -> None:
    lines = run_topo(tmp_path, "Star", "params: {n: 5}\n")
    assert value(lines, "connect_success") == 1.0
    assert {line["path"] for line in lines if line["probe"] == "path"} == {"direct"}


def test_mininets_link_parameters_are_carried_out_by_our_backends(tmp_path: Path) -> None:
    """Plain Mininet leaves this link unimpaired on a kernel without netem, and says nothing."""
    lines = run_topo(tmp_path, "SlowLine")
    assert 29.0 <= value(lines, "rtt_min_ms") <= 34.0


def test_a_router_of_the_users_own_class_routes() -> None:
    done = overlaybench("shell", "example_topos:Routed", "--commands", str(HERE / "ping_routed.mn"), cwd=HERE)
    assert done.returncode == 0, done.stderr
    assert "1 received" in done.stdout


@pytest.mark.parametrize("privileged", [True, False], ids=["as started", "without privileges"])
def test_the_shell_runs_commands_and_leaves_nothing(privileged: bool) -> None:
    before = machine_state()
    # A folder of its own: other tests' shells run beside it.
    with tempfile.TemporaryDirectory(prefix="overlaybench-shell-") as folder:
        commands = Path(folder) / "two_sites.mn"
        shutil.copy(HERE / "two_sites.mn", commands)
        commands.parent.chmod(0o755)
        done = overlaybench(
            "shell",
            "two-sites",
            *("--set", "nat_a=symmetric"),
            *("--commands", str(commands)),
            prefix=[] if privileged else without_privileges(),
        )
        assert done.returncode == 0, done.stderr
        assert "1 packets transmitted, 1 received" in done.stdout
        assert "45.45.1.1" in done.stdout
        assert machine_state() == before
        assert processes_naming(str(commands)) == []


def test_the_shell_takes_commands_from_its_user() -> None:
    """As typed: without a file, the prompt reads stdin; nothing is complained of at the end."""
    argv = [*OVERLAYBENCH, "shell", "two-sites"]
    said = subprocess.run(
        argv, input="b ping -c1 -W2 s\nexit\n", capture_output=True, text=True, timeout=60, check=False
    )
    assert said.returncode == 0
    assert "mininet>" in said.stdout
    assert "1 received" in said.stdout
    assert said.stderr == ""


def test_the_shell_refuses_what_the_topology_does_not_take() -> None:
    done = overlaybench("shell", "two-sites", "--set", "nat_c=symmetric", "--commands", "/dev/null")
    assert done.returncode == 2
