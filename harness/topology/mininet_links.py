"""A link's options in a Mininet user's `Topo`, as our backends have them; and what none of them does. Pure."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mininet.link import Link, TCLink

from harness.model.link import LinkProfile, parse_link

TC_KEYS = frozenset({"bw", "delay", "jitter", "loss", "max_queue_size", "use_htb"})
LINK_KEYS = frozenset(
    {
        *("port1", "port2", "node1", "node2", "intfName1", "intfName2"),
        *("addr1", "addr2", "fast", "params1", "params2", "cls"),
    }
)
# Mininet's own queue, when none is given, is tc's default of so many packets.
_QUEUE_PACKETS = 1000
# tc(8), UNITS: times; a bare number is microseconds.
_MS_OF = {
    **dict.fromkeys(("s", "sec", "secs"), 1000.0),
    **dict.fromkeys(("ms", "msec", "msecs"), 1.0),
    **dict.fromkeys(("us", "usec", "usecs", ""), 0.001),
    **dict.fromkeys(("ns", "nsec", "nsecs"), 0.000001),
}
# What our own complaints call what Mininet calls otherwise.
_THEIR_WORDS = {
    "up.loss.percent": "loss",
    "up.queue.limit_packets": "max_queue_size",
    "rate_mbit": "bw",
    "up.delay_ms": "delay",
    "delay_ms": "delay",
    "up.jitter.jitter_ms": "jitter",
    "jitter_ms": "jitter",
}


def link_problems(options: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a link asks for that no lab does."""
    cls = options.get("cls")
    if cls is not None and _is_link(cls) and not (cls in (Link, TCLink) or cls.__module__.startswith("mininet.")):
        yield f"links of a class of one's own ({cls.__name__}) are not supported: Link and TCLink are"
    for end in (1, 2):
        given = (options.get(f"params{end}") or {}).keys()
        if TC_KEYS & given:
            yield "an impairment at one end alone is not supported"
        if "mac" in given:
            yield f"params{end}: Mininet takes a hardware address as addr{end}"
        rest = given - TC_KEYS - {"ip", "mac"}
        if rest:
            yield f"params{end}: {', '.join(sorted(map(str, rest)))}: not supported"
    if options.get("max_queue_size") and not options.get("bw"):
        yield "max_queue_size without bw: nothing waits in a queue in front of a link without a rate"
    ignored = options.keys() - LINK_KEYS - TC_KEYS
    if ignored:
        yield f"{', '.join(sorted(map(str, ignored)))}: not supported"
    try:
        profile_of(options)
    except ValueError as error:
        yield str(error)


def profile_of(options: Mapping[str, Any]) -> LinkProfile | None:
    """Return the profile that a link's options ask for, in both directions; None for a bare cable.

    Raises:
        ValueError: names the option, and what it was given.
    """
    if not TC_KEYS & options.keys():
        return None
    spec: dict[str, Any] = {}
    for key in ("delay", "jitter"):
        if options.get(key):
            spec[f"{key}_ms"] = _milliseconds(key, options[key])
    if options.get("loss") is not None:
        spec["loss_percent"] = _number("loss", options["loss"], "percent")
    if options.get("bw") is not None:
        spec["rate_mbit"] = _number("bw", options["bw"], "Mbit/s")
        spec["queue_packets"] = _whole("max_queue_size", options.get("max_queue_size") or _QUEUE_PACKETS)
    try:
        profile = parse_link(spec)
    except ValueError as error:
        text = str(error)
        for ours, theirs in _THEIR_WORDS.items():
            text = text.replace(ours, theirs)
        raise ValueError(text) from None
    return profile if profile.impaired else None


def _milliseconds(key: str, value: Any) -> float:
    match = re.fullmatch(r"([0-9.]+)\s*([a-z]*)", str(value).strip().lower())
    try:
        assert match is not None
        return float(match[1]) * _MS_OF[match[2]]
    except (AssertionError, ValueError, KeyError):
        raise ValueError(
            f"{key}: {value!r} is no time such as 10ms (tc(8): s, ms, us, ns and their long forms)"
        ) from None


def _number(key: str, value: Any, unit: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{key} is a number of {unit}, not {value!r}") from None


def _whole(key: str, value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{key} is a number of packets, not {value!r}") from None


def _is_link(cls: Any) -> bool:
    return inspect.isclass(cls) and issubclass(cls, Link)
