"""The rules by which a peer reaches one internal endpoint through several of its mappings."""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.nat import Filtering, Hairpinning, Mapping, NatBehaviour, Pooling
from harness.nat.ports import RouterPorts
from harness.nat.rules_words import chain, quoted


def one_session_per_pair(b: NatBehaviour, ports: RouterPorts, seed: int) -> Iterator[str]:
    """Yield the chains for that; none where nothing can clash.

    Connection tracking holds one entry for the pair (internal endpoint, peer), so what comes through a second mapping
    is steered, before tracking sees it, to the mapping which that entry has. The inside cannot see the difference.
    """
    if not sessions_may_clash(b):
        return
    remember = []
    # The peer is noted as it comes to the router: of a hairpin by its inside endpoint.
    for status, internal, external, peer in (
        (
            "snat",
            "ct original",
            "ct reply ip daddr . ct reply proto-dst",
            "ct reply ip saddr . ct reply proto-src",
        ),
        (
            "dnat",
            "ct reply",
            "ct original ip daddr . ct original proto-dst",
            "ct original ip saddr . ct original proto-src",
        ),
    ):
        flow = f"meta l4proto udp ct status {status}"
        address, port = external.split(" . ")
        endpoint = f"{internal} ip saddr . {internal} proto-src"
        life = f"timeout {b.udp_lifetime_s}s"
        remember += [
            f"{flow} meta mark set jhash {endpoint} mod 0xffffffff seed {seed & 0xFFFFFFFF:#x}",
            f"{flow} update @owner {{ meta l4proto . {external} {life} : meta mark }}",
            f"{flow} update @session_port {{ meta mark . {peer} {life} : {port} }}",
        ]
        if b.pooling is Pooling.ARBITRARY:
            remember.append(f"{flow} update @session_address {{ meta mark . {peer} {life} : {address} }}")
    yield from chain("pairs", "filter hook postrouting priority 300", *remember, "meta mark set 0")
    known = "meta mark != 0 meta l4proto udp"
    steer = []
    for where in _where_sessions_clash(b, ports):
        steer += [
            f"{where} meta mark set meta l4proto . ip daddr . udp dport map @owner",
            f"{known} udp dport set meta mark . ip saddr . udp sport map @session_port",
        ]
        if b.pooling is Pooling.ARBITRARY:
            steer.append(f"{known} ip daddr set meta mark . ip saddr . udp sport map @session_address")
        steer.append("meta mark set 0")
    yield from chain("same_session", "filter hook prerouting priority raw", *steer)


def sessions_may_clash(b: NatBehaviour) -> bool:
    """Tell whether a peer may reach one internal endpoint through two of its mappings, from one source."""
    if b.mapping is Mapping.EIM:
        return False
    return b.filtering is not Filtering.APDF or b.hairpinning is Hairpinning.INTERNAL_SOURCE


def _where_sessions_clash(b: NatBehaviour, ports: RouterPorts) -> Iterator[str]:
    """Yield matches of the packets that may have to be steered, on their way in."""
    if b.filtering is not Filtering.APDF:
        guard = " meta l4proto . ip daddr . udp dport . ip saddr @contacted" if b.filtering is Filtering.ADF else ""
        yield f'iifname "{ports.wan}" meta l4proto udp{guard}'
    # With APDM a hairpin's external source is another for each mapping that it goes to, so nothing clashes.
    if b.hairpinning is Hairpinning.INTERNAL_SOURCE or (
        b.hairpinning is Hairpinning.EXTERNAL_SOURCE and b.mapping is Mapping.ADM
    ):
        yield f"iifname {quoted(ports.lans)} ip daddr {{ {', '.join(ports.pool(b))} }} meta l4proto udp"
