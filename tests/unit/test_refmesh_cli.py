"""What the commands write, and what they never do: overwrite an authority, leave a key readable."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from overlays.refmesh.config_file import load_node, load_server

INIT = ("--member", "a", "--member", "b", "--server", "s=198.51.100.7")


def refmesh(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs a command under a permissive umask."""
    return subprocess.run(
        [sys.executable, "-m", "overlays.refmesh", *map(str, argv)],
        capture_output=True,
        text=True,
        check=False,
        umask=0,
    )


@pytest.fixture
def network(tmp_path: Path) -> Path:
    folder = tmp_path / "net"
    done = refmesh("init", folder, *INIT)
    assert done.returncode == 0, done.stderr
    return folder


def test_secrets_are_readable_by_their_owner_alone(network: Path) -> None:
    for name in ("authority.key", "a.yaml", "b.yaml", "s.yaml"):
        assert stat.S_IMODE((network / name).stat().st_mode) == 0o600, name


@pytest.mark.parametrize("existing", ["authority.key", "a.yaml", "b.yaml", "s.yaml", "policy"])
def test_init_never_overwrites(tmp_path: Path, existing: str) -> None:
    folder = tmp_path / "net"
    folder.mkdir()
    (folder / existing).write_text("mine")
    done = refmesh("init", folder, *INIT)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{folder / existing}:0: file: exists already")
    assert len(done.stderr.splitlines()) == 1
    assert {path.name: path.read_text() for path in folder.iterdir()} == {existing: "mine"}


def test_a_second_init_leaves_the_first_as_it_is(network: Path) -> None:
    before = {path: path.read_bytes() for path in network.iterdir()}
    assert refmesh("init", network, *INIT).returncode == 2
    assert {path: path.read_bytes() for path in network.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_one_line() -> None:
    done = refmesh("init", "/proc/net-of-nobody", *INIT)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", [("invite", "c", "10.77.0.9/16"), ("policy", "--version", "2")])
def test_an_authority_that_others_can_read_is_refused(network: Path, command: tuple[str, ...]) -> None:
    key = network / "authority.key"
    key.chmod(0o644)
    done = refmesh(command[0], "--authority", key, *command[1:])
    assert done.returncode == 2
    assert f"chmod 600 {key}" in done.stderr


def test_what_init_writes_is_what_up_and_server_read(network: Path) -> None:
    assert load_node(network / "a.yaml").mode == "mesh"
    assert load_server(network / "s.yaml").relay
    assert yaml.safe_load((network / "s.yaml").read_text())["policy_file"] == "policy"
