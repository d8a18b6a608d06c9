"""Commands of docs/many-machines.md, pasted as they stand there; programs that pretend stand for the cluster's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "many-machines.md").read_text()
# As SLURM's: without --wait it returns at once, and the jobs run later.
SBATCH = """\
wait= jobs=
for word; do case $word in --wait) wait=1;; --array=*) jobs=$(seq $(echo ${word#--array=} | tr - ' '));; esac; done
for script; do :; done
for job in $jobs; do (sleep 0.2; SLURM_ARRAY_TASK_ID=$job sh -c "$script") & done
[ -z "$wait" ] || wait
"""
OVERLAYBENCH = """\
echo "$@" >>"$SAID"
case $1 in
run) while [ $# -gt 1 ]; do [ "$1" = --out ] && mkdir -p "$2"; shift; done;;
merge) shift; while [ "$1" != --out ]; do [ -d "$1" ] && echo part >>"$PARTS"; shift; done;;
esac
"""


def block(begins: str) -> str:
    """Return the indented lines of the page of which the first begins so."""
    lines = PAGE.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith(f"    {begins}"))
    end = next(number for number in range(start, len(lines)) if not lines[number].startswith("    "))
    return "\n".join(line.strip() for line in lines[start:end])


@pytest.fixture
def pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    programs = tmp_path / "bin"
    programs.mkdir()
    home = tmp_path / "home" / ".config" / "overlaybench"
    home.mkdir(parents=True)
    (home / "key.pem").write_text("key")
    there = tmp_path / "there"
    texts = {
        "sbatch": SBATCH,
        "overlaybench": OVERLAYBENCH,
        "ssh": f'mkdir -p {there}/"$1"; cd {there}/"$1"; shift; exec "$@"',
        "scp": f'cp -r "$2" {there}/"$(echo "$3" | tr : /)"',
    }
    for name, text in texts.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=os.pathsep)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SAID", str(tmp_path / "said"))
    monkeypatch.setenv("PARTS", str(tmp_path / "parts"))
    return tmp_path


def paste(text: str, folder: Path) -> None:
    subprocess.run(["bash", "-e"], input=text, text=True, cwd=folder, check=True, timeout=60)


def test_slurms_array_is_merged_when_it_has_ended(pasted: Path) -> None:
    paste(block("sbatch "), pasted)
    said = (pasted / "said").read_text().splitlines()
    runs, (merge,) = sorted(said[:-1]), said[-1:]
    assert runs == [f"run vpn-shootout --shard {k}/8 --out shards/{k}" for k in range(1, 9)]
    assert merge.startswith("merge shards/1 shards/2 ") and merge.endswith("shards/8 --out runs/slurm")
    assert (pasted / "parts").read_text().count("part") == 8


def test_tls_files_reach_hosts_whose_users_have_no_configuration_yet(pasted: Path) -> None:
    paste(block("overlaybench hosts init"), pasted)
    for host in ("rack1", "rack2"):
        copied = pasted / "there" / f"bench@{host}" / ".config" / "overlaybench" / "key.pem"
        assert copied.read_text() == "key"
