"""What the package says of itself: a version from git tags, also without any, and what must be in its files."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from setuptools_scm import get_version

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=n", "-c", "user.email=e@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a repository of one commit without tags that has our settings."""
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    return tmp_path


def commit(folder: Path) -> None:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "--allow-empty", "-m", "x")


def version_of(folder: Path) -> str:
    return str(get_version(root=str(folder), **PROJECT["tool"]["setuptools_scm"]))


def test_the_version_is_the_tags(clone: Path) -> None:
    git(clone, "tag", "v1.2.3")
    assert version_of(clone) == "1.2.3"
    commit(clone)
    assert re.fullmatch(r"1\.2\.4\.dev1\+g[0-9a-f]+", version_of(clone))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_shallow_clone_without_tags_and_a_copy_without_git_have_one_too(clone: Path, tmp_path: Path) -> None:
    commit(clone)
    git(clone, "clone", "-q", "--depth", "1", "--no-tags", f"file://{clone}", str(tmp_path / "shallow"))
    assert re.fullmatch(r"0\.1(\.\d+)?\.dev\d+\+g[0-9a-f]+", version_of(tmp_path / "shallow"))
    shutil.rmtree(tmp_path / "shallow" / ".git")
    # Below another repository, as in a checkout's own folder: that one's tags are not ours.
    shutil.rmtree(clone / ".git")
    assert version_of(tmp_path / "shallow") == "0.1.0"


def test_the_build_takes_its_version_from_git() -> None:
    assert PROJECT["project"]["dynamic"] == ["version"] and "version" not in PROJECT["project"]
    assert any(one.startswith("setuptools-scm") for one in PROJECT["build-system"]["requires"])


def test_every_file_that_the_program_reads_is_in_the_wheel() -> None:
    """A file beside Python that no pattern of package-data takes is there in a checkout and nowhere else."""
    argv = ["git", "ls-files", "harness", "overlays", "topologies", "scenarios"]
    names = subprocess.run(argv, capture_output=True, text=True, check=True, cwd=ROOT).stdout.splitlines()
    data: dict[str, list[str]] = PROJECT["tool"]["setuptools"]["package-data"]
    missing = [
        name
        for name in names
        if not name.endswith((".py", ".md"))
        and not any(Path(name).match(pattern) for pattern in data["*"])
        and not any(
            Path(name).match(f"{package.replace('.', '/')}/{pattern}")
            for package, patterns in data.items()
            if package != "*"
            for pattern in patterns
        )
    ]
    assert missing == []


def test_the_citation_file_is_one() -> None:
    said = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert said.keys() >= {"cff-version", "message", "title", "authors"}
    assert said["license"] == PROJECT["project"]["license"]


def test_the_container_has_what_setup_installs() -> None:
    setup, container = (ROOT / "setup.sh").read_text(), (ROOT / "Containerfile").read_text()
    wanted = " ".join(re.findall(r'^(?:required|subjects)="((?!\$)[^"]*)"', setup, re.MULTILINE)).replace("\\\n", "")
    only_to_build = {"python3-venv", "gcc", "libc6-dev", "make"}
    installed = set(container.rpartition("FROM ")[2].split())
    assert set(wanted.split()) - only_to_build <= installed
