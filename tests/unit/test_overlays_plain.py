"""Content without an overlay: a file that one address serves once, fetched from another."""

from __future__ import annotations

import subprocess
import time
from ipaddress import ip_address
from pathlib import Path

import pytest

from harness.overlay.plain import plain_contents


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
def test_a_file_is_served_once_and_arrives_whole(tmp_path: Path, address: str) -> None:
    ends = plain_contents({"a": ip_address(address), "b": ip_address(address)})
    assert [(end.src, end.dst) for end in ends] == [("a", "b"), ("b", "a")]
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(bytes(range(256)) * 10_000)
    began = time.monotonic()
    url = run([word.replace("{file}", str(source)) for word in ends[0].publish])
    assert time.monotonic() - began < 3, "it asks no name service"
    fetch = [word.replace("{file}", str(copy)).replace("{id}", url) for word in ends[0].fetch]
    run(fetch)
    assert copy.read_bytes() == source.read_bytes()
    with pytest.raises(subprocess.CalledProcessError):  # whoever published is gone
        run(fetch)


def run(argv: list[str]) -> str:
    return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=20).stdout.strip()
