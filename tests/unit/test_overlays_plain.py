"""Content without an overlay: a file that one address serves once, fetched from another."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address
from pathlib import Path

import pytest

from harness.overlay.plain import plain_contents

# Runs a program that fails when it asks a name service, even what its own address is called: that may take seconds.
WITHOUT_NAMES = """
import runpy, socket, sys
def asked(*_):
    raise AssertionError("it asks a name service")
socket.getfqdn = socket.gethostbyaddr = socket.gethostbyname = asked
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_file_is_served_once_and_arrives_whole(tmp_path: Path, address: str) -> None:
    ends = plain_contents({"a": ip_address(address), "b": ip_address(address)})
    assert [(end.src, end.dst) for end in ends] == [("a", "b"), ("b", "a")]
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(bytes(range(256)) * 10_000)
    python, *options, program, _, _, own = ends[0].publish
    url = run([python, *options, "-c", WITHOUT_NAMES, program, "publish", str(source), own])
    fetch = [word.replace("{file}", str(copy)).replace("{id}", url) for word in ends[0].fetch]
    run(fetch)
    assert copy.read_bytes() == source.read_bytes()
    with pytest.raises(subprocess.CalledProcessError):  # whoever published is gone
        run(fetch)


def run(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
