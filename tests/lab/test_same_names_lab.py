"""Labs built one after the other in one sandbox: the kernel takes the first one's ports away some time later."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from harness.sandbox.unshare import sandbox_argv

pytestmark = [pytest.mark.lab, pytest.mark.waits]

PORTS_OF_OBSERVERS = """
import json, os
from pyroute2 import IPRoute
from harness.nat.observers import Observers, Side

with IPRoute() as here:
    here.link("add", ifname="lan", kind="bridge", state="up")
    side = Side(os.getpid(), "lan", True, "10.45.0.0/24", ("10.45.0.1",))
    left = []
    for _ in range(5):
        with Observers() as observers, observers.attached(side, "10.45.0.1", side, None):
            between = len(here.link_lookup(ifname="observer0"))
        left.append([between, len(here.link_lookup(ifname="observer0"))])
print(json.dumps(left))
"""

A_PORT_OF_AN_EARLIER_NET = """
import json, threading
from mininet.topo import Topo
from pyroute2 import IPRoute
from harness.errors import LabError
from harness.lab import wires
from harness.lab.network import LabNet

topo = Topo()
topo.addLink(topo.addHost("h1"), topo.addSwitch("s1"))
with IPRoute() as here:
    here.link("add", ifname="s1-eth1", kind="bridge")
    [left] = here.link_lookup(ifname="s1-eth1")
    gone = threading.Timer(0.3, here.link, ["del"], {"index": left})
    gone.start()
    net = LabNet(topo)
    net.start()
    gone.join()
    [own] = here.link_lookup(ifname="s1-eth1")
    net.stop()
    here.link("add", ifname="s2-eth1", kind="bridge")
    wires._LEFTOVER_S = 0.05
    topo = Topo()
    topo.addLink(topo.addHost("h1"), topo.addSwitch("s2"))
    try:
        LabNet(topo)
        refused = ""
    except LabError as error:
        refused = str(error)
print(json.dumps([own != left, refused]))
"""


def _in_sandbox(code: str) -> Any:
    argv = sandbox_argv([sys.executable, "-c", code])
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_observers_take_their_ports_along_when_they_go() -> None:
    assert _in_sandbox(PORTS_OF_OBSERVERS) == [[1, 0]] * 5


def test_a_net_waits_for_the_ports_of_an_earlier_one_to_go_but_not_for_ever() -> None:
    waited, refused = _in_sandbox(A_PORT_OF_AN_EARLIER_NET)
    assert waited
    assert "s2-eth1" in refused and "File exists" in refused
