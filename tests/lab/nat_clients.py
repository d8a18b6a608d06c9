"""A STUN client of other makers behind the routers: does it see what ours sees?"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.calibration.nat_ground import Ground
from harness.calibration.nat_worker import SCRATCH
from harness.model.nat import parse_nat
from harness.sandbox.namespace import inside_network_of


def independent_client(ground: Ground, routers: list[dict[str, Any]]) -> list[str]:
    """Return what coturn's turnutils_natdiscovery, against coturn itself on two addresses, says of each router."""
    said = []
    with _turnserver(ground, SCRATCH):
        for axes in routers:
            ground.router(parse_nat(axes), 1)
            # A fresh source port for each test, or the filtering test would use a mapping that knows all addresses.
            tests = [["-m"], ["-f"]]
            done = [
                in_network(
                    ground.inside[0].pid, ["turnutils_natdiscovery", *test, ground.public[0].address], timeout=20
                )
                for test in tests
            ]
            said.append("".join(each.stdout for each in done))
    return said


@contextlib.contextmanager
def _turnserver(ground: Ground, folder: Path) -> Iterator[None]:
    log = folder / "turn.log"
    argv = [
        *("turnserver", "-n", "--no-auth", "--no-tls", "--no-dtls", "--no-cli", "--stun-only"),
        *("-L", ground.public[0].address, "-L", ground.public[1].address),
        *("--pidfile", str(folder / "pid"), "--log-file", str(log), "--simple-log", "--userdb", str(folder / "db")),
    ]
    server = subprocess.Popen(
        ["nsenter", "-t", str(ground.public[0].pid), "-n", *argv],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
    )
    try:
        deadline = time.monotonic() + 10
        while not _listens_on_both(ground):
            assert server.poll() is None and time.monotonic() < deadline, "coturn does not start"
            time.sleep(0.05)
        yield
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait()


def _listens_on_both(ground: Ground) -> bool:
    with inside_network_of(ground.public[0].pid):
        table = Path("/proc/thread-self/net/udp").read_text()
    return table.count(":0D96 ") >= 2 and table.count(":0D97 ") >= 2  # 3478 and 3479


def in_network(pid: int, argv: list[str], timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["nsenter", "-t", str(pid), "-n", *argv], capture_output=True, text=True, timeout=timeout, check=False
    )
