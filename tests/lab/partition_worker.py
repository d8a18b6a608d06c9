"""Runs in a sandbox: whether a host that is parted from the server gets through to it at other addresses.

`python partition_worker.py FOLDER`. Prints, by what was done last, whether the server answered.
"""

from __future__ import annotations

import json
import subprocess
import sys
from ipaddress import IPv4Address
from pathlib import Path
from typing import cast

from harness.lab import counters
from harness.lab.network import Lab
from harness.scenario.load import load_topology
from harness.timeline.change_address import ChangeAddress, ChangeAddressSettings
from harness.timeline.contract import RunningDaemons
from harness.timeline.move import Move, MoveSettings
from harness.timeline.partition import Partition, PartitionSettings

_OVERLAY = cast(RunningDaemons, None)


def main() -> None:
    """Part them, change addresses, join them."""
    topology = load_topology("roaming").resolve({"nat_m": "port-restricted"})
    lab = Lab(topology, seed=1, link_choice="auto", workdir=Path(sys.argv[1]))
    lab.start()
    counters.install(lab.watched_ports())
    seen: dict[str, bool] = {}

    def ask(after: str) -> None:
        done = lab.nodes["a"].run(["ping", "-n", "-c", "1", "-W", "1", "45.45.0.10"], timeout_s=10)
        seen[after] = done.returncode == 0

    partition, parted = Partition(), PartitionSettings(away_from=("s",))
    move, moved = Move(), MoveSettings(into="rm")
    change, changed = ChangeAddress(), ChangeAddressSettings(addresses=(IPv4Address("45.45.9.9"),))
    partition.perform(lab, _OVERLAY, "a", parted)
    ask("parted")
    move.perform(lab, _OVERLAY, "a", moved)
    ask("moved")
    move.undo(lab, _OVERLAY, "a", moved)
    change.perform(lab, _OVERLAY, "ra", changed)
    ask("readdressed")
    # What comes from the other side is dropped by the router in any case; so the rules are asked.
    rules = subprocess.run(["nft", "list", "ruleset"], capture_output=True, text=True, check=True).stdout
    seen["rules know the new address"] = "45.45.9.9" in rules
    partition.undo(lab, _OVERLAY, "a", parted)
    ask("joined")
    change.undo(lab, _OVERLAY, "ra", changed)
    ask("as before")
    lab.stop()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
