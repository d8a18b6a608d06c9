"""What bench.link measures through: links of ours, vde2's wirefilter, and processes that keep the machine busy."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from harness.calibration.link_rig import A_ADDRESS, B_ADDRESS, Rig, run
from harness.link.choose import choose_backend
from harness.model.link import parse_link

DELAY_MS = 10.0


@contextlib.contextmanager
def rig(spec: Any, backend: str = "userlink") -> Iterator[Rig]:
    """Yield a rig with its own scratch folder."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Rig(choose_backend(backend), parse_link(spec), seed=1, workdir=Path(folder)) as made,
    ):
        yield made


@contextlib.contextmanager
def hogs(count: int) -> Iterator[None]:
    """Run processes that take all the processor time they can get."""
    running = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


@contextlib.contextmanager
def wirefilter() -> Iterator[Rig | str]:
    """Join a and b by vde2's wirefilter with the same delay; yield a text where it is not installed."""
    missing = [name for name in ("wirefilter", "vde_switch") if shutil.which(name) is None]
    if missing:
        yield "not installed: apt-get install -y vde2"
        return
    with tempfile.TemporaryDirectory() as folder, rig("ideal") as made, contextlib.ExitStack() as stack:
        for side, pid, own, other in (("a", made.a, A_ADDRESS, "b"), ("b", made.b, B_ADDRESS, "a")):
            enter = ["nsenter", "--target", str(pid), "--net"]
            run(*enter, *["ip", "link", "delete", "eth0"]) if side == "a" else None
            switch = ["vde_switch", "-s", f"{folder}/{side}", "-tap", "eth0"]
            _background(stack, [*enter, *switch])
            mac = {"a": "02:00:00:00:00:0a", "b": "02:00:00:00:00:0b"}
            address = {"a": A_ADDRESS, "b": B_ADDRESS}
            _until(
                lambda enter=enter: subprocess.run(
                    [*enter, "ip", "link", "show", "eth0"], capture_output=True, check=False
                )
            )
            run(*enter, *f"ip link set eth0 address {mac[side]} up".split())
            run(*enter, *f"ip address add {own}/24 dev eth0".split())
            run(*enter, *f"ip neighbour add {address[other]} lladdr {mac[other]} dev eth0".split())
        _background(stack, ["wirefilter", "-v", f"{folder}/a:{folder}/b", "-d", f"{DELAY_MS:g}"])
        enter_a = ["nsenter", "--target", str(made.a), "--net"]
        _until(lambda: subprocess.run([*enter_a, "ping", "-c1", "-W1", B_ADDRESS], capture_output=True, check=False))
        yield made


def _background(stack: contextlib.ExitStack, argv: list[str]) -> None:
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.kill)


def _until(attempt: Callable[[], subprocess.CompletedProcess[bytes]]) -> None:
    deadline = time.monotonic() + 10
    while attempt().returncode:
        if time.monotonic() > deadline:
            raise TimeoutError("wirefilter did not come up")
        time.sleep(0.05)
