"""A host's `defaultRoute` in a Mininet user's `Topo`: its forms, and what a lab cannot set. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_interface
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.topology.mininet_hosts import Cable

_WORDS = ("via", "dev")


def words_of(route: Any) -> list[str]:
    """Return pairs of words, `dev` in front of an interface alone."""
    text = str(route)
    return text.split() if " " in text else ["dev", text]


def renamed(route: Any, names: Mapping[str, str]) -> str:
    """Return the route with the new names of interfaces that have one."""
    words = words_of(route)
    return " ".join(names.get(word, word) if number % 2 else word for number, word in enumerate(words))


def route_problems(route: Any, cables: Sequence[Cable]) -> Iterator[str]:
    """Yield what the kernel would refuse, or a lab would leave out."""
    if route is None:
        return
    words, names = words_of(route), [cable.interface for cable in cables]
    if len(words) % 2 or len(set(words[::2])) < len(words[::2]) or any(word not in _WORDS for word in words[::2]):
        yield f"defaultRoute: {route!r} is no interface, and not `via ADDRESS`, `dev INTERFACE` or both"
        return
    said = dict(zip(words[::2], words[1::2], strict=True))
    device, gateway = said.get("dev"), said.get("via")
    if device is not None and device not in names:
        hint = f"; a router's address is written 'via {device}'" if _is_address(device) else ""
        yield f"defaultRoute: there is no interface {device}, but {', '.join(names) or 'none'}{hint}"
    elif gateway is not None and not _is_address(gateway):
        yield f"defaultRoute: {gateway!r} is no address"
    elif gateway is not None:
        networks = [
            ip_interface(address).network
            for cable in cables
            if device in (None, cable.interface)
            for address in cable.addresses
        ]
        if not any(ip_address(gateway) in network for network in networks):
            shown = ", ".join(map(str, networks)) or "none"
            yield f"defaultRoute: {gateway} is in none of the networks that it is on: {shown}"


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
