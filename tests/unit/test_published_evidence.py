"""A published copy keeps the evidence of every probe, or says which it leaves out and why."""

from __future__ import annotations

import re
import tarfile
from pathlib import Path

import pytest

import harness.probes
from harness.report.publish import LEFT_OUT, is_kept, keep_evidence

PROBES = Path(harness.probes.__file__).parent
README = Path(__file__).parents[2] / "results" / "README.md"


def files() -> list[str]:
    """Return the name of every table, JSON file and capture that a probe writes, members' names as `a`."""
    found = set()
    for path in PROBES.glob("*.py"):
        for name in re.findall(r'f?"([^" ]+\.(?:jsonl?|csv|pcapng))"', path.read_text()):
            plain = name.replace("{kind}", "").replace("{way}", "forward").replace("{TOOL}", "sender")
            plain = re.sub(r"\{[^}]*\}", "a", plain)
            found.add(plain if plain.startswith(("idle", "handshake", "a-")) else f"overlay-a-b-{plain}")
    return sorted(found)


def test_the_list_is_of_real_names() -> None:
    assert len(files()) > 15 and "overlay-a-b-continuity.csv" in files()


@pytest.mark.parametrize("name", files())
def test_evidence_is_kept_or_named_as_left_out(name: str) -> None:
    left_out = [part for part in LEFT_OUT if part in name]
    assert is_kept(name) != bool(left_out) or name.endswith("-irtt.json"), "irtt's report is kept in part"


def test_what_is_left_out_is_said_where_the_copy_is_described() -> None:
    page = README.read_text()
    assert [name for name in LEFT_OUT if f"`{name}`" not in page and f"`*{name}`" not in page] == []


def test_streams_udp_continuity_and_idle_evidence_is_in_the_archive(tmp_path: Path) -> None:
    trial = tmp_path / "trials" / "t"
    trial.mkdir(parents=True)
    kept = ["idle.pcapng", "idle.json"]
    kept += [
        f"overlay-a-b-{name}"
        for name in (
            *("stream-trips.json", "stream-push.json", "stream-server-closes.json", "iperf3-udp-a.json"),
            *("continuity.csv", "continuity-tcp.json", "content.json", "fetches.json", "groups.json"),
        )
    ]
    lost = ["members.pcapng", "overlay-continuity.pcapng", "overlay-a-b-content-publish-path-0.log", "key.json"]
    for name in [*kept, *lost]:
        (trial / name).write_text("x")
    keep_evidence(tmp_path, tmp_path / "evidence.tar.xz")
    with tarfile.open(tmp_path / "evidence.tar.xz") as archive:
        assert sorted(Path(one.name).name for one in archive) == sorted(kept)
