"""What is kept of a router's daemon: the end of its output, however much it prints."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from pyroute2.netlink.exceptions import NetlinkError

from harness.errors import LabError
from harness.nat import router_daemon, translator
from harness.nat.router_daemon import KEPT_BYTES, RouterDaemon

Popen = subprocess.Popen


@pytest.fixture
def at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start it in this process's own namespaces, so that no privilege is needed."""

    def start(argv: Sequence[str], **how: Any) -> subprocess.Popen[bytes]:
        return Popen(argv[argv.index("--") + 1 :], **how)

    monkeypatch.setattr(subprocess, "Popen", start)


def daemon_of(program: str) -> RouterDaemon:
    return RouterDaemon(1, "chatterd", [sys.executable, "-c", program])


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "it does not come to pass"
        time.sleep(0.01)


@pytest.mark.usefixtures("at_home")
def test_what_a_chatterer_says_is_bounded_and_its_end_kept() -> None:
    lines = 40 * KEPT_BYTES // 100
    daemon = daemon_of(f"for i in range({lines}): print('x' * 99)\nprint('out of leases')")
    deadline = time.monotonic() + 20
    while (ended := daemon.why_ended()) is None and time.monotonic() < deadline:
        time.sleep(0.01)
    assert ended == "chatterd ended (exit status 0): out of leases"
    assert len(daemon.said()) <= KEPT_BYTES
    daemon.stop()
    daemon.stop()
    assert daemon.said().endswith("out of leases\n")


@pytest.mark.usefixtures("at_home")
def test_one_that_never_gets_ready_is_stopped_and_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_daemon, "_PATIENCE_S", 1.0)
    daemon = daemon_of("import time\nprint('no such interface', flush=True)\ntime.sleep(60)")
    until(lambda: "no such interface" in daemon.said())
    with pytest.raises(LabError, match="chatterd is not ready after 1 s: no such interface"):
        daemon.wait_until(lambda: False)
    assert daemon.why_ended() is not None


@pytest.mark.usefixtures("at_home")
def test_one_that_is_ready_at_a_look_that_took_too_long_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_daemon, "_PATIENCE_S", 0.1)
    daemon = daemon_of("import time\ntime.sleep(60)")
    looks = iter((False, True))

    def ready() -> bool:
        time.sleep(0.2)
        return next(looks)

    daemon.wait_until(ready)
    assert daemon.why_ended() is None
    daemon.stop()


@pytest.mark.usefixtures("at_home")
def test_one_that_ends_at_once_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(router_daemon, "_PATIENCE_S", 60.0)
    daemon = daemon_of("raise SystemExit('bad configuration')")
    with pytest.raises(LabError, match=r"chatterd ended \(exit status 1\): bad configuration"):
        daemon.wait_until(lambda: False)


@pytest.mark.usefixtures("at_home")
def test_one_is_stopped_if_looking_whether_it_is_ready_fails() -> None:
    daemon = daemon_of("import time\ntime.sleep(60)")

    def ready() -> bool:
        raise OSError("the router is gone")

    with pytest.raises(OSError, match="is gone"):
        daemon.wait_until(ready)
    assert daemon.why_ended() is not None


@pytest.mark.parametrize(
    ("refused", "error", "said"),
    [
        ("route", NetlinkError(13, "Permission denied"), "nothing can be led to tayga: .*Permission denied"),
        ("link_lookup", LookupError(), "tayga has taken its interface away again"),
    ],
)
@pytest.mark.usefixtures("at_home")
def test_a_translator_is_stopped_if_nothing_can_be_led_to_it(
    monkeypatch: pytest.MonkeyPatch, refused: str, error: Exception, said: str
) -> None:
    started: list[RouterDaemon] = []
    looks = itertools.count()

    class Netlink:
        """The router's, which refuses one thing."""

        def link_lookup(self, ifname: str) -> list[int]:
            del ifname
            return [] if refused == "link_lookup" and next(looks) else [7]

        def link(self, *_: str, **__: object) -> None: ...

        def route(self, *_: str, **__: object) -> None:
            raise error

    @contextlib.contextmanager
    def netlink_inside(pid: int) -> Iterator[Netlink]:
        assert pid == 1
        yield Netlink()

    def start(pid: int, name: str, argv: Sequence[str], configuration: tuple[str, str]) -> RouterDaemon:
        assert (pid, name, argv[0]) == (1, "tayga", "tayga") and "dynamic-pool" in configuration[1]
        started.append(daemon_of("import time\ntime.sleep(60)"))
        return started[0]

    monkeypatch.setattr(translator, "TAYGA", SimpleNamespace(name="tayga", require=lambda: None))
    monkeypatch.setattr(translator, "netlink_inside", netlink_inside)
    monkeypatch.setattr(translator, "RouterDaemon", start)
    with pytest.raises(LabError, match=said):
        translator.start_tayga(1)
    (daemon,) = started
    assert daemon.why_ended() is not None
