"""Whether this machine's nft takes the rulesets, tried for every alias and every value of every axis; none is loaded.

Rules that one version of nft takes another may refuse, and a kernel may lack what they need. `nft -c` asks both.
"""

from __future__ import annotations

import enum
import itertools
import json
import subprocess
import sys
import types
from collections.abc import Iterator
from ipaddress import IPv6Network
from typing import Any, get_args, get_origin

from harness.model.nat import ALIASES, NatBehaviour, PortMappingProtocol
from harness.nat.ports import RouterPorts
from harness.nat.ruleset import render_ruleset

# Addresses and names are any: nothing is loaded.
_ADDRESSES = tuple(f"45.45.1.{n}" for n in range(1, 3))
_PORTS = RouterPorts("wan0", _ADDRESSES, ("lan0",), ("10.45.0.0/24",), lan_prefixes=("fd00:45::/64",))
# An axis value is tried with the first of these that the model allows it with.
_BESIDE: tuple[dict[str, Any], ...] = (
    {},
    {"port_allocation": "sequential"},
    {"port_allocation": "block"},
    {"pool_size": 2},
    {"mapping": "none"},
    {"mapping": "none", "filtering": "none"},
    {"mapping": "none", "filtering": "none", "ipv6_filtering": "none"},
    {"ipv6_filtering": "none"},
)
_NUMBERS: dict[str, tuple[float, ...]] = {
    "port_step": (3, -1),
    "port_block_size": (100,),
    "pool_size": (2,),
    "session_cap": (10,),
}


def samples() -> dict[str, NatBehaviour]:
    """Return a behaviour for each alias, and one for each value of each axis, by label; one number stands for all.

    Raises:
        LookupError: an axis has a value that goes with no behaviour known here.
    """
    found = {name: alias.behaviour for name, alias in ALIASES.items()}
    for axis, field in NatBehaviour.model_fields.items():
        for value in _values(axis, field.annotation):
            found[f"{axis}={_text(value)}"] = _behaviour(axis, value)
    return found


def _values(axis: str, kind: Any) -> Iterator[Any]:
    if get_origin(kind) is types.UnionType:
        yield from (value for one in get_args(kind) if one is not type(None) for value in _values(axis, one))
    elif isinstance(kind, type) and issubclass(kind, enum.Enum):
        yield from kind
    elif kind is bool:
        yield from (True, False)
    elif kind is IPv6Network:
        yield IPv6Network("2a0e:45:9::/64")
    elif kind in (int, float):
        yield from _NUMBERS.get(axis, (2,))
    else:  # port_mapping
        yield from itertools.chain(itertools.combinations(PortMappingProtocol, 1), [tuple(PortMappingProtocol)])


def _behaviour(axis: str, value: Any) -> NatBehaviour:
    for others in _BESIDE:
        try:
            return NatBehaviour.model_validate({**others, axis: value})
        except ValueError:
            continue
    if axis == "port_mapping":  # one of two that go together only
        return NatBehaviour(port_mapping=tuple(PortMappingProtocol))
    raise LookupError(f"no behaviour known that {axis} {value!r} goes with")


def _text(value: Any) -> str:
    return "+".join(value) if isinstance(value, tuple) else str(value)


def refusals() -> dict[str, str]:
    """Return nft's complaints by the sample's label; empty where it takes all. Needs a network namespace of its own.

    Raises:
        FileNotFoundError: there is no nft.
    """
    found = {}
    for label, behaviour in samples().items():
        script = render_ruleset(behaviour, _PORTS, seed=1)
        asked = subprocess.run(["nft", "-c", "-f", "-"], input=script, capture_output=True, text=True, check=False)
        if asked.returncode:
            found[label] = (asked.stderr.strip().splitlines() or [f"exit status {asked.returncode}"])[0]
    return found


def main() -> None:
    """Print the refusals as JSON, for a caller outside the namespace."""
    json.dump(refusals(), sys.stdout)


if __name__ == "__main__":
    main()
