"""Mininet classes of the zoo that a lab must carry: built, and pinged across."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lab.running import overlaybench, records

pytestmark = pytest.mark.lab
HERE = Path(__file__).parent


def pinged(tmp_path: Path, name: str, *commands: str) -> str:
    """Run commands in the class's lab."""
    script = tmp_path / "commands.mn"
    script.write_text("\n".join(commands) + "\n")
    done = overlaybench("shell", f"mininet_zoo:{name}", "--commands", str(script), cwd=HERE)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("Ovs", "h1 ping -c1 -W2 10.0.0.2"),
        ("Own", "h1 ping -c1 -W2 10.0.0.2"),
        ("AddressOnLink", "h2 ping -c1 -W2 10.0.0.77"),
        ("RouteByInterface", "h1 ping -c1 -W2 10.0.0.2"),
        ("V6", "h1 ping -c1 -W2 2001:db8::2"),
        ("LongNames", "h-2 ping -c1 -W2 10.0.0.1"),
        ("Homes", "h1 ping -c1 -W2 45.45.0.10"),
        ("RingWithTree", "h1 ping -c1 -W2 10.0.0.3"),
        ("PrivateRun", "h1 ping -c1 -W2 10.0.0.2"),
    ],
)
def test_a_class_is_built_as_it_says(name: str, command: str, tmp_path: Path) -> None:
    assert "1 received" in pinged(tmp_path, name, command)


def test_a_users_own_config_runs_with_its_parameters(tmp_path: Path) -> None:
    said = pinged(tmp_path, "Own", "h1 cat /run/mark /proc/sys/net/ipv4/ip_default_ttl")
    assert "here" in said and "33" in said


def test_private_folders_are_there(tmp_path: Path) -> None:
    assert "yes" in pinged(tmp_path, "PrivateRun", "h1 touch /run/mine/deep/x /var/log/x && echo yes")


def test_overlays_run_on_classes_with_nats_cables_and_long_names(tmp_path: Path) -> None:
    (tmp_path / "mininet_zoo.py").write_text((HERE / "mininet_zoo.py").read_text())
    for name, overlays, path in (
        ("Homes", "{refmesh: mesh, underlay: }", "direct"),
        ("Cabled", "{underlay: }", "direct"),
        ("LongNames", "{underlay: }", "direct"),
    ):
        scenario = tmp_path / f"{name}.yaml"
        scenario.write_text(
            f"description: x\ntopology: 'mininet_zoo:{name}'\noverlays: {overlays}\n"
            "probes: {path: {deadline_s: 8}}\n"
        )
        done = overlaybench("run", str(scenario), "--out", str(tmp_path / name))
        assert done.returncode == 0, done.stderr
        found = [one for one in records(tmp_path / name) if one["metric"] == "connect_success"]
        assert found and {one["path"] for one in found} == {path}, (name, found)
