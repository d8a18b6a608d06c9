"""A kind of host is one file and one line of registration, in a package of its own."""

from __future__ import annotations

import json
from pathlib import Path

from extension import install, run

SOURCE = '''
"""Answers for every address that begins with rack://, and says that nobody is there."""

from harness.errors import MissingPrerequisite


class Rack:
    name = "rack"
    order = 5
    addresses = "rack://NAME"

    def takes(self, address):
        return address is not None and address.startswith("rack://")

    def slots_said(self, address):
        return None

    def open(self, address, *, label, jobs, overlays):
        raise MissingPrerequisite(f"machine {address.removeprefix('rack://')}, asked for {jobs} jobs", "switch it on")
'''


def test_a_run_goes_to_whoever_takes_the_address(tmp_path: Path) -> None:
    environment = install(tmp_path, group="overlaybench.hosts", name="rack", source=SOURCE, attribute="Rack")
    out = str(tmp_path / "run")
    done = run(environment, "overlaybench", "run", "smoke", "--hosts", "rack://seven", "--jobs", "3", "--out", out)
    assert done.returncode == 3, done.stderr
    assert "machine seven, asked for 3 jobs; to get it: switch it on" in done.stderr


ELSEWHERE = '''
"""A machine that has what this one lacks; it ends each trial at once, and keeps what it was asked."""

import contextlib
from harness.hosts.contract import HostFacts
from harness.trial.messages import Done


class Elsewhere:
    slots = 1

    def describe(self):
        nothing = {"tool_versions": {}, "overlay_versions": {}}
        return HostFacts(commit="x", privileged=True, machine={"kernel": "theirs"}, **nothing)

    def lacking(self, overlays):
        return {"libp2p": "nobody has carried it there"} if "libp2p" in overlays else {}

    def require(self, trials, overlays):
        print("asked for", *sorted(overlays))

    @contextlib.contextmanager
    def measuring(self):
        found = {}
        yield found
        found["virtual"] = False

    async def run(self, job, folder, on_step):
        on_step("elsewhere")
        return Done(outcome="ok")

    async def close(self):
        pass


class Rack:
    name, order, addresses = "rack", 5, "rack://NAME"

    def takes(self, address):
        return address is not None and address.startswith("rack://")

    def slots_said(self, address):
        return None

    def open(self, address, *, label, jobs, overlays):
        return Elsewhere()
'''
SCENARIO = """\
description: x
topology: two-sites
overlays: {underlay: , refmesh: mesh, libp2p: mesh}
probes: [path]
not_installed: skip
"""


def test_what_the_orchestrators_machine_lacks_does_not_matter_elsewhere(tmp_path: Path) -> None:
    environment = install(tmp_path, group="overlaybench.hosts", name="rack", source=ELSEWHERE, attribute="Rack")
    empty, out = tmp_path / "bin", tmp_path / "run"
    empty.mkdir()
    (tmp_path / "s.yaml").write_text(SCENARIO)
    argv = ("overlaybench", "run", str(tmp_path / "s.yaml"), "--out", str(out))
    here = run({**environment, "PATH": str(empty)}, *argv)
    assert here.returncode == 3 and "the program `ping`" in here.stderr
    done = run({**environment, "PATH": str(empty)}, *argv, "--hosts", "rack://seven")
    assert done.returncode == 0, done.stderr
    assert "asked for refmesh underlay\n" in done.stdout
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["skipped"] == {"libp2p": "nobody has carried it there"}
    assert (manifest["processors"], manifest["machine"]) == ({"virtual": False}, {"kernel": "theirs"})


def test_an_address_that_nobody_takes_is_refused_with_what_there_is(tmp_path: Path) -> None:
    environment = install(tmp_path, group="overlaybench.hosts", name="rack", source=SOURCE, attribute="Rack")
    done = run(environment, "overlaybench", "run", "smoke", "--hosts", "cloud://x", "--out", str(tmp_path / "run"))
    assert done.returncode == 2, done.stderr
    assert "no kind of host has such addresses (rack: rack://NAME; local: none, or `local`; file: " in done.stderr
