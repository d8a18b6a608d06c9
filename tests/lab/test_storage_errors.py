"""A machine that runs out of disk, rights or descriptors: one line, exit 3, and the run can be resumed."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.running import OVERLAYBENCH, TINY_DISK, overlaybench, records

pytestmark = [pytest.mark.lab, pytest.mark.waits]

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "results" / "demo"
PATH_ONLY = """\
description: paths only
topology: two-sites
overlays: {underlay: , refmesh: mesh}
probes: {path: {deadline_s: 30}}
"""


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """Return a disk of 600 kB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small disk needs root")
    disk = tmp_path / "tiny"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", TINY_DISK, disk], check=True)
    yield disk
    subprocess.run(["umount", disk], check=True)


def here() -> dict[str, str]:
    """Return the environment of a program that is started in another folder, and finds this checkout all the same."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return the last line of stderr, which is no traceback."""
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_a_run_on_a_disk_that_fills_stops_and_goes_on_elsewhere(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "paths.yaml").write_text(PATH_ONLY)
    (tiny / "fill").write_bytes(bytes(400_000))  # room for a few trials
    out = tiny / "run"
    argv = ("run", str(tmp_path / "paths.yaml"), "--only", "mode=underlay", "--repeat", "12")
    done = overlaybench(*argv, "--out", str(out), "--no-report", "--jobs", "1")
    assert done.returncode == 3, done.stderr
    assert "no space left on device; make room there" in said(done)
    kept = [line["trial"] for line in records(out) if line["probe"] == "trial"]
    assert 0 < len(kept) < 12, "what was written before stays"
    moved = tmp_path / "moved"
    shutil.copytree(out, moved)
    again = overlaybench(*argv, "--out", str(moved), "--resume")
    ends = [line["trial"] for line in records(moved) if line["probe"] == "trial"]
    assert len(ends) == len(set(ends)) == 12, again.stderr
    assert f"{len(kept)} of 12 trials are done already" in again.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("report", "{tiny}/demo"),
        ("compare", str(DEMO), str(DEMO), "--html", "{tiny}/page.html"),
        ("run", "smoke", "--out", "{tiny}/run"),
    ],
    ids=["report", "compare", "run"],
)
def test_a_full_disk_is_one_line(tiny: Path, arguments: tuple[str, ...]) -> None:
    shutil.copytree(DEMO, tiny / "demo", ignore=shutil.ignore_patterns("plots", "*.md", "summary.csv"))
    with (tiny / "fill").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))
    done = overlaybench(*(word.format(tiny=tiny) for word in arguments))
    assert done.returncode == 3, done.stderr
    assert "no space left on device" in said(done) and str(tiny) in said(done)


INSTRUMENTS = {
    "shell": ("shell", "two-sites", "--commands", str(ROOT / "tests" / "lab" / "two_sites.mn")),
    "calibrate nat": ("calibrate", "nat", "--only", "full-cone", "--jobs", "1", "--json"),
    "calibrate link": ("calibrate", "link", "--only", "delay-10ms-100", "--backend", "userlink", "--json"),
}


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_an_instruments_output_on_a_full_disk_is_one_line(tiny: Path, name: str) -> None:
    with (tiny / "fill").open("wb", buffering=0) as file, pytest.raises(OSError):
        while True:
            file.write(bytes(4096))
    # Nothing else that they do needs room: not where temporary files go, nor in the folder in which they are started.
    argv = ["env", f"TMPDIR={tiny}", *OVERLAYBENCH, *INSTRUMENTS[name]]
    with (tiny / "out").open("wb") as out:
        done = subprocess.run(
            argv, stdout=out, stderr=subprocess.PIPE, text=True, check=False, timeout=100, cwd=tiny, env=here()
        )
    assert done.returncode == 3, done.stderr
    assert said(done).startswith("overlaybench: standard output: no space left on device; make room there")


@pytest.mark.root
def test_calibration_works_where_run_holds_mounts() -> None:
    """Whoever used `ip netns add`, or has Docker, has mounts below /run, which are locked for an ordinary user."""
    from tests.lab.running import without_privileges  # noqa: PLC0415

    mounted = 'mount -t tmpfs none /run && mkdir /run/netns && mount -t tmpfs none /run/netns && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", mounted, "sh", *without_privileges(), *OVERLAYBENCH]
    done = subprocess.run(
        [*argv, *INSTRUMENTS["calibrate nat"]], capture_output=True, text=True, check=False, timeout=100, env=here()
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [("shell", "parties", "--set", "n=20"), ("calibrate", "nat", "--only", "full-cone", "--jobs", "2")],
    ids=["shell", "calibrate nat"],
)
def test_too_few_descriptors_for_an_instrument_are_one_line(arguments: tuple[str, ...]) -> None:
    argv = ["sh", "-c", 'ulimit -n 64; exec "$@"', "sh", *OVERLAYBENCH, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=100, stdin=subprocess.DEVNULL)
    assert done.returncode == 3, done.stderr
    assert "too many open files; raise the limit" in said(done)
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.root
def test_the_folder_of_another_user_is_one_line(tmp_path: Path) -> None:
    from tests.lab.running import without_privileges  # noqa: PLC0415

    tmp_path.chmod(0o755)
    for parent in list(tmp_path.parents)[:3]:
        if parent != Path("/tmp"):
            parent.chmod(0o755)
    (tmp_path / "paths.yaml").write_text(PATH_ONLY)
    done = overlaybench(
        *("run", str(tmp_path / "paths.yaml"), "--out", str(tmp_path / "run")),
        prefix=without_privileges(),
        cwd=tmp_path,
    )
    assert done.returncode == 3, done.stderr
    assert said(done) == f"overlaybench: {tmp_path / 'run'}: permission denied; name a place that is yours"


@pytest.mark.parametrize("name", ["x" * 300, "paths.yaml/run"], ids=["too long", "below a file"])
def test_a_folder_that_cannot_be_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "paths.yaml").write_text(PATH_ONLY)
    done = overlaybench("run", str(tmp_path / "paths.yaml"), "--out", str(tmp_path / name))
    assert done.returncode == 3, done.stderr
    assert name in said(done)


def test_too_few_descriptors_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "paths.yaml").write_text(PATH_ONLY)
    argv = [*OVERLAYBENCH, "run", str(tmp_path / "paths.yaml"), "--out", str(tmp_path / "run")]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh", *argv], capture_output=True, text=True, check=False, timeout=100
    )
    assert done.returncode == 3, done.stderr
    assert "too many open files; raise the limit" in said(done)


@pytest.mark.parametrize("command", ["list nats", "plan demo", "report {demo} --format md", "doctor --json"])
def test_a_closed_standard_output_is_one_line(command: str) -> None:
    words = command.format(demo=DEMO).split()
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*OVERLAYBENCH, *words], stdout=writing, stderr=subprocess.PIPE, text=True, check=False, timeout=100
    )
    os.close(writing)
    assert done.returncode == 3, done.stderr
    assert said(done) == "overlaybench: standard output: broken pipe"
