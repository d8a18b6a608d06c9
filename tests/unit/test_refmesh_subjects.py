"""The rivals of `bench.refmesh` can be deployed: each `prepare` is called, with the programs that it runs stubbed."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench import refmesh_subjects
from bench.refmesh_subjects import SUBJECTS, A, B, Subject

run = subprocess.run


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Sequence[str]]:
    """Return what would have been run; openssl says a fingerprint."""
    told: list[Sequence[str]] = []

    def stub(argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        told.append(argv)
        said = "SHA256 Fingerprint=AA:BB\n" if "-fingerprint" in argv else ""
        return subprocess.CompletedProcess(argv, 0, said if options.get("text") else said.encode(), "")

    monkeypatch.setattr(refmesh_subjects.subprocess, "run", stub)
    return told


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_every_subject_prepares_both_hosts(subject: Subject, ran: list[Sequence[str]], tmp_path: Path) -> None:
    commands = subject.prepare(tmp_path)
    assert {host for host, _ in commands} == {"a", "b"}
    for _, argv in commands:
        assert argv
        assert all(type(word) is str and word for word in argv)
        if argv[:2] == ("sh", "-c"):
            run(["sh", "-n", "-c", argv[2]], check=True)
    started = " ".join(word for _, argv in commands for word in argv)
    assert Path(subject.program).name in started
    for program in {str(argv[0]) for argv in ran}:
        assert program in (subject.program, "openssl", *subject.helpers), "a program that is not asked for before"
    for path in tmp_path.rglob("*.y*ml"):
        assert yaml.safe_load(path.read_text()), path


@pytest.mark.usefixtures("ran")
@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_what_a_subject_writes_leads_to_the_other_host(subject: Subject, tmp_path: Path) -> None:
    started = " ".join(word for _, argv in subject.prepare(tmp_path) for word in argv)
    written = "".join(path.read_text() for path in sorted(tmp_path.rglob("*")) if path.is_file())
    assert B in written + started
    assert "vpn0" in written + started
    if subject.name.startswith("wireguard"):
        assert A in started


def test_the_subjects_have_names_of_their_own() -> None:
    names = [subject.name for subject in SUBJECTS]
    assert len(set(names)) == len(names) == 9
