"""Names of a lab's nodes."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import LabError
from harness.lab.names import hosts_file, serve_names
from harness.scenario.load import load_topology


def test_every_node_has_its_name_in_each_ip_version() -> None:
    lines = hosts_file(load_topology("two-sites").resolve({"ip": "dual", "helpers": 1})).splitlines()
    assert "127.0.0.1 localhost" in lines
    assert "45.45.0.10 s s.lab" in lines and "2a0e:45::10 s s.lab" in lines
    assert "192.168.1.2 a a.lab" in lines and "45.45.1.1 ra ra.lab" in lines and "45.45.0.11 s2 s2.lab" in lines
    names = [line.split()[1] for line in lines[2:]]
    assert sorted(names) == sorted(["a", "b", "s", "s2", "ra", "rb"] * 2)


def test_no_machine_gets_a_labs_names(tmp_path: Path) -> None:
    before = Path("/etc/hosts").read_text()
    with pytest.raises(LabError, match="the machine's own"):
        serve_names(load_topology("two-sites").resolve({}), tmp_path)
    assert Path("/etc/hosts").read_text() == before
