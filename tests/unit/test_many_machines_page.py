"""Commands of docs/many-machines.md, pasted as they stand there; programs that pretend stand for the cluster's."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.campaign.shards import parse_shard
from harness.commands.run import run_command

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE = (DOCS / "many-machines.md").read_text()
NUMBER = "${{ matrix.shard }}"
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


def test_the_workflow_runs_each_shard_once_and_merges_them_all() -> None:
    jobs = yaml.safe_load((DOCS / "ci-shards.yaml").read_text())["jobs"]
    shard, merge = jobs["shard"], jobs["merge"]
    numbers = shard["strategy"]["matrix"]["shard"]
    assert merge["needs"] == "shard" and not shard["strategy"]["fail-fast"]
    (run,) = commands(shard["steps"])
    parts = []
    (upload,) = [step["with"] for step in shard["steps"] if "upload-artifact" in step.get("uses", "")]
    for number in map(str, numbers):
        words = run.partition(" || ")[0].replace(NUMBER, number).split()
        asked = run_command.make_context("run", words[2:]).params
        assert str(parse_shard(asked["shard"])) == f"{number}/{len(numbers)}"
        out = str(asked["out"])
        # Downloaded, each is a folder of its name.
        assert upload["path"].replace(NUMBER, number) == upload["name"].replace(NUMBER, number) == out
        parts.append(out)
    (put_together,) = commands(merge["steps"])
    words = put_together.split()
    assert words[1] == "merge" and words[2 : words.index("--out")] == parts
    assert [step["with"]["path"] for step in merge["steps"] if "with" in step] == [words[-1]]


def commands(steps: list[dict[str, Any]]) -> list[str]:
    return [step["run"] for step in steps if ".venv/bin/overlaybench " in step.get("run", "")]
