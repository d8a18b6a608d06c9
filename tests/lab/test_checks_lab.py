"""The in-trial check of the links over lossy ones: lost address requests cost a moment, dead links the trial."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.sandbox.unshare import sandbox_argv

pytestmark = pytest.mark.lab

# What was slept and what the check said, over a link whose first frames upwards are lost.
CODE = """
import json, sys, time
from pathlib import Path
from harness.trial import checks
from harness.errors import LabNotAsDeclared
from harness.lab.network import Lab
from harness.model.topology import Topology

folder, lost_first = Path(sys.argv[1]), int(sys.argv[2])
(folder / "loss").write_text("1" * lost_first + "0" * 5000)
topology = Topology.model_validate({
    "name": "short",
    "segments": {"net": {"subnet": "45.45.0.0/16"}},
    "hosts": {
        "a": {"on": "net", "address": "45.45.0.1",
              "link": {"delay_ms": 5, "up": {"loss": {"kind": "trace", "file": str(folder / "loss")}}}},
        "s": {"on": "net", "address": "45.45.0.2"},
    },
    "members": ["a"],
    "server": "s",
})
slept, sleep = [], time.sleep
checks.time.sleep = lambda seconds: (slept.append(seconds), sleep(seconds))
lab = Lab(topology, seed=1, link_choice="userlink", workdir=folder)
lab.start()
try:
    said = [seen.problem for seen in checks.check_links(lab)]
except LabNotAsDeclared as error:
    said = str(error)
alike = []
for node in [*lab.net.switches, *lab.nodes.values(), lab._space.node]:
    alike += [link.get_attr("IFLA_IFNAME") for link in node.netlink.get_links()
              if link.get_attr("IFLA_LINK") == link["index"]]
print(json.dumps({"said": said, "slept": slept, "lost": lab.links.accounting().counts["a-net"]["up"].lost,
                  "ends numbered like their peers": alike}))
"""


def check(folder: Path, lost_first: int) -> dict[str, Any]:
    argv = sandbox_argv([sys.executable, "-c", CODE, str(folder), str(lost_first)])
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_a_lost_address_request_is_repeated_before_the_check_gives_up(tmp_path: Path) -> None:
    # The kernel's own second between requests is longer than the check's patience: it would have had to sleep.
    seen = check(tmp_path, lost_first=1)
    assert (seen["said"], seen["slept"], seen["lost"]) == ([None], [], 1)


def test_no_end_of_a_pair_has_its_peers_number(tmp_path: Path) -> None:
    # The kernel opens a bridge port of such a pair up to a second late (harness.sandbox.pairs).
    assert check(tmp_path, lost_first=0)["ends numbered like their peers"] == []


def test_a_link_that_loses_many_frames_at_first_passes_when_asked_again(tmp_path: Path) -> None:
    seen = check(tmp_path, lost_first=24)
    assert seen["said"] == [None]
    assert len(seen["slept"]) == 1
    assert seen["lost"] == 24


def test_a_dead_link_makes_the_trial_invalid(tmp_path: Path) -> None:
    seen = check(tmp_path, lost_first=4000)
    assert "path a-s: none of 8 echoes was answered" in seen["said"]
    assert len(seen["slept"]) == 1
