"""Makes a trial's own ZeroTier world before its start: `planet.py PLAN.json`, in the root's folder.

Identities and the planet (the signed list of roots) come from ZeroTier's own tools. A planet whose id is not the
vendor's is never replaced by the one that the program has built in, and that is how the vendor's roots stay unknown.
The network and its members are written as the controller's own records, so it need not be asked over its API.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_IDTOOL = ("zerotier-one", "-i")
_PLANET_ID = "000000000b"  # any but 149604618, the vendor's
_NETWORK_NUMBER = "000001"
_ANYWHERE = ("0.0.0.0/1", "128.0.0.0/1", "::/1", "8000::/1")

_SETTINGS = {"softwareUpdate": "disable", "allowTcpFallbackRelay": False}


@dataclass(frozen=True)
class Plan:
    """A trial's world: `members` are the overlay addresses by node; `endpoint` is the root's, ADDRESS/PORT."""

    root: str
    endpoint: str
    network: str
    members: Mapping[str, str]
    relay_only: bool

    def text(self) -> str:
        """As JSON, which `Plan(**json.loads(text))` reads."""
        return json.dumps(asdict(self), indent=1)


def planet(moon: Mapping[str, object], endpoint: str) -> dict[str, object]:
    """Make a planet's definition out of a moon's, which is all that `initmoon` makes; `genmoon` signs either."""
    roots = moon["roots"]
    assert isinstance(roots, list)
    ours = [{**root, "stableEndpoints": [endpoint]} for root in roots]
    return {**moon, "worldType": "planet", "id": _PLANET_ID, "roots": ours}


def local_conf(forbidden: Sequence[str]) -> dict[str, object]:
    """Return a node's local.conf; to nodes with ZeroTier addresses in `forbidden` it may use no path of its own."""
    virtual = {address: {"blacklist": list(_ANYWHERE)} for address in forbidden}
    return {"settings": _SETTINGS, "virtual": virtual}


def network_record(network_id: str, plan: Plan) -> dict[str, object]:
    """Return the controller's record of the network: private, flat, addresses fixed by the members' records."""
    return {
        "objtype": "network",
        "id": network_id,
        "nwid": network_id,
        "name": "trial",
        "private": True,
        "enableBroadcast": True,
        "v4AssignMode": {"zt": False},
        "v6AssignMode": {"zt": False, "rfc4193": False, "6plane": False},
        "routes": [{"target": plan.network, "via": None}],
        "rules": [{"type": "ACTION_ACCEPT", "not": False, "or": False}],
        "mtu": 2800,
        "multicastLimit": 32,
        "revision": 1,
    }


def member_record(network_id: str, address: str, ip: str) -> dict[str, object]:
    """Return the controller's record of a member that may join, and its overlay address."""
    return {
        "objtype": "member",
        "id": address,
        "address": address,
        "nwid": network_id,
        "authorized": True,
        "noAutoAssignIps": True,
        "ipAssignments": [ip],
        "revision": 1,
    }


def make(plan: Plan, nodes: Path) -> None:
    """Write everything that the nodes need into their folders below `nodes`."""
    for node in (plan.root, *plan.members):
        (nodes / node).mkdir(exist_ok=True)
        _idtool("generate", "identity.secret", "identity.public", folder=nodes / node)
    addresses = {node: (nodes / node / "identity.public").read_text().split(":")[0] for node in plan.members}
    root = nodes / plan.root
    (root / "addresses.json").write_text(json.dumps(addresses))
    definition = planet(json.loads(_idtool("initmoon", "identity.public", folder=root)), plan.endpoint)
    (root / "planet.json").write_text(json.dumps(definition))
    _idtool("genmoon", "planet.json", folder=root)
    signed = (root / f"{_PLANET_ID:0>16}.moon").read_bytes()
    (root / "planet").write_bytes(signed)
    (root / "local.conf").write_text(json.dumps(local_conf(())))
    network_id = (root / "identity.public").read_text().split(":")[0] + _NETWORK_NUMBER
    members = root / "controller.d" / "network" / network_id / "member"
    members.mkdir(parents=True)
    (members.parent.parent / f"{network_id}.json").write_text(json.dumps(network_record(network_id, plan)))
    for node, ip in plan.members.items():
        folder, address = nodes / node, addresses[node]
        (members / f"{address}.json").write_text(json.dumps(member_record(network_id, address, ip)))
        (folder / "planet").write_bytes(signed)
        (folder / "networks.d").mkdir()
        (folder / "networks.d" / f"{network_id}.conf").touch()
        (folder / "devicemap").write_text(f"{network_id}=zt-{node}\n")
        others = [other for other in addresses.values() if other != address] if plan.relay_only else []
        (folder / "local.conf").write_text(json.dumps(local_conf(others)))


def _idtool(*arguments: str, folder: Path) -> str:
    return subprocess.run((*_IDTOOL, *arguments), cwd=folder, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Read the plan; the nodes' folders stand next to the root's."""
    plan = Plan(**json.loads(Path(sys.argv[1]).read_text()))
    make(plan, Path.cwd().parent)


if __name__ == "__main__":
    main()
