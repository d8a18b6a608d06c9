"""A kind of host is one file and one line of registration, in a package of its own."""

from __future__ import annotations

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

    def open(self, address, *, label, jobs, overlays):
        raise MissingPrerequisite(f"machine {address.removeprefix('rack://')}, asked for {jobs} jobs", "switch it on")
'''


def test_a_run_goes_to_whoever_takes_the_address(tmp_path: Path) -> None:
    environment = install(tmp_path, group="overlaybench.hosts", name="rack", source=SOURCE, attribute="Rack")
    out = str(tmp_path / "run")
    done = run(environment, "overlaybench", "run", "smoke", "--hosts", "rack://seven", "--jobs", "3", "--out", out)
    assert done.returncode == 3, done.stderr
    assert "machine seven, asked for 3 jobs; to get it: switch it on" in done.stderr


def test_an_address_that_nobody_takes_is_refused_with_what_there_is(tmp_path: Path) -> None:
    environment = install(tmp_path, group="overlaybench.hosts", name="rack", source=SOURCE, attribute="Rack")
    done = run(environment, "overlaybench", "run", "smoke", "--hosts", "cloud://x", "--out", str(tmp_path / "run"))
    assert done.returncode == 2, done.stderr
    assert "no kind of host has such addresses (rack: rack://NAME; local: none, or `local`)" in done.stderr
