"""What the commands write, and what they never do: overwrite an authority, leave a key readable."""

from __future__ import annotations

import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from overlays.refmesh import credentials, keys
from overlays.refmesh.config_file import load_node, load_server
from overlays.refmesh.errors import ConfigError, CredentialError

INIT = ("--member", "a", "--member", "b", "--server", "s=198.51.100.7")


def refmesh(*argv: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command under a permissive umask."""
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


@pytest.mark.parametrize(
    "command", [("invite", "--server", "s", "c", "10.77.0.9/16"), ("policy", "--version", "2", "--from", "policy")]
)
def test_an_authority_that_others_can_read_is_refused(network: Path, command: tuple[str, ...]) -> None:
    key = network / "authority.key"
    key.chmod(0o644)
    arguments = [network / "policy" if word == "policy" else word for word in command[1:]]
    done = refmesh(command[0], "--authority", key, *arguments)
    assert done.returncode == 2
    assert f"chmod 600 {key}" in done.stderr


def test_what_init_writes_is_what_up_and_server_read(network: Path) -> None:
    assert load_node(network / "a.yaml").mode == "mesh"
    assert load_server(network / "s.yaml").relay
    assert yaml.safe_load((network / "s.yaml").read_text())["policy_file"] == "policy"


@pytest.mark.parametrize("key", ["? [a, b]\n: c\n", "{[mode]: mesh}\n"])
def test_a_field_named_by_a_list_is_one_line(network: Path, key: str) -> None:
    file = network / "a.yaml"
    file.write_text(key if key.startswith("{") else file.read_text() + key)
    with pytest.raises(ConfigError) as caught:
        load_node(file)
    assert any("a field must be named by a word" in problem for problem in caught.value.problems)


def test_issue_makes_a_member_of_a_key_that_somebody_else_has(network: Path) -> None:
    private = keys.generate()
    public = keys.encode(keys.public(private))
    key = network / "authority.key"
    done = refmesh("issue", "--authority", key, "c", "10.77.0.9/16", public, "--group", "staff", "--days", "3")
    assert done.returncode == 0, done.stderr
    authority = keys.signing_public(keys.decode(key.read_text().strip()))
    held = credentials.verify(done.stdout.strip(), authority, time.time() + 2 * 86400)
    assert (held.name, held.key, held.addresses, held.groups) == (
        "c",
        keys.public(private),
        ("10.77.0.9/16",),
        ("staff",),
    )
    assert held.role == "node"
    with pytest.raises(CredentialError, match="expired"):
        credentials.verify(done.stdout.strip(), authority, time.time() + 4 * 86400)


@pytest.mark.parametrize("wrong", [("x", "10.77.0.9/16"), (keys.encode(bytes(32)), "nowhere")])
def test_issue_says_what_is_wrong(network: Path, wrong: tuple[str, str]) -> None:
    done = refmesh("issue", "--authority", network / "authority.key", "c", wrong[1], wrong[0])
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


def test_renew_changes_the_certificate_and_nothing_else(network: Path) -> None:
    path = network / "a.yaml"
    path.write_text("# a comment of the user's\n" + path.read_text())
    before = path.read_text().splitlines()
    old = yaml.safe_load(path.read_text())["certificate"]
    done = refmesh("renew", "--authority", network / "authority.key", path, network / "s.yaml", "--days", "700")
    assert done.returncode == 0, done.stderr
    after = path.read_text().splitlines()
    assert [line for line in before if "certificate" not in line] == [
        line for line in after if "certificate" not in line
    ]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    config = yaml.safe_load(path.read_text())
    authority = keys.decode(config["authority"])
    new, was = (credentials.verify(text, authority, 0.0) for text in (config["certificate"], old))
    assert new.serial != was.serial
    assert new.supersedes(was)
    assert new.not_after > time.time() + 699 * 86400
    assert (new.name, new.key, new.addresses, new.groups, new.role) == (
        was.name,
        was.key,
        was.addresses,
        was.groups,
        was.role,
    )
    assert load_server(network / "s.yaml").certificate


@pytest.mark.parametrize("text", ["", "certificate: x.y\n", "certificate: 5\n", "- 1\n", "private_key: x\n", "a: [\n"])
def test_renew_leaves_all_as_it_is_if_one_file_is_wrong(network: Path, text: str) -> None:
    before = (network / "a.yaml").read_bytes()
    wrong = network / "wrong.yaml"
    wrong.write_text(text)
    done = refmesh("renew", "--authority", network / "authority.key", network / "a.yaml", wrong)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) <= 3
    assert "Traceback" not in done.stderr
    assert (network / "a.yaml").read_bytes() == before


def test_renew_needs_the_authority_that_issued(network: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    assert refmesh("init", other, *INIT).returncode == 0
    done = refmesh("renew", "--authority", other / "authority.key", network / "a.yaml")
    assert done.returncode == 2
    assert "is not the authority's" in done.stderr


@pytest.mark.parametrize("text", ["", "a: [\n", "- 1\n", "a: !!python/object:x {}\n", "status_socket: 2020-13-45\n"])
@pytest.mark.parametrize("command", ["status", "down", "reload"])
def test_a_configuration_that_is_none_is_one_line(tmp_path: Path, command: str, text: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    done = refmesh(command, "--config", path)
    assert done.returncode in (2, 3)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("command", ["down", "reload"])
def test_where_nothing_runs_that_is_said(network: Path, command: str) -> None:
    done = refmesh(command, "--config", network / "a.yaml")
    assert done.returncode == 3
    assert "is it running?" in done.stderr
