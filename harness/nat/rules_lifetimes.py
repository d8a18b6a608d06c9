"""The lifetimes of the translation table's entries: who refreshes what, and what is stopped when its mapping ends."""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.nat import Filtering, Hairpinning, NatBehaviour, Refresh
from harness.nat.ports import RouterPorts
from harness.nat.rules_words import BY_MAPPING, DESTINATION, INTERNAL, PEER, chain, quoted

# No acknowledgement without data is longer, whatever its options (at most 60 bytes of IP and 60 of TCP).
_BULK = "meta l4proto tcp meta length > 200"

# A mapping that was refreshed within this part of its lifetime is fresh enough: to look that up costs a third of what
# refreshing does. So a lifetime may end by as much early.
_FRESH_PART = 50


def lifetimes(b: NatBehaviour, ports: RouterPorts) -> Iterator[str]:
    """Yield the refreshing of the maps; after translation (priority 300), where connection tracking knows both sides.

    A mapping is *own* to a flow that began inside, and *given* to one that began outside (or is a hairpin's far end).
    """
    own = ("own", "snat", "original", INTERNAL + DESTINATION[b.mapping], "ct reply ip daddr . ct reply proto-dst")
    internal = "ct reply ip saddr . ct reply proto-src"
    given = ("given", "dnat", "reply", internal + PEER[b.mapping], "ct original ip daddr . ct original proto-dst")
    flows = [own] if b.filtering is Filtering.APDF and b.hairpinning is Hairpinning.OFF else [own, given]
    rules = []
    for protocol, established, lifetime_s in (
        ("udp", "ct state established", b.udp_lifetime_s),
        ("tcp", _tcp_states(b)["established"][0], b.tcp_established_lifetime_s),
    ):
        # Each direction of a flow by itself: only one may count.
        flow = f"ip saddr . ip daddr . {protocol} sport . {protocol} dport"
        if protocol == "tcp":
            # Bulk is acknowledged, and the acknowledgement refreshes: a router at line speed need not even look.
            rules.append(f"{_BULK} ct state established tcp flags & (fin | rst) == 0 accept")
        rules.append(f"meta l4proto {protocol} {established} {flow} @fresh_{protocol} accept")
        fresh_ms = lifetime_s * 1000 // _FRESH_PART
        rules.append(f"meta l4proto {protocol} {established} add @fresh_{protocol} {{ {flow} timeout {fresh_ms}ms }}")
    for name, status, outward, key, external in flows:
        source = "ct original" if name == "own" else "ct reply"
        peer = (
            "ct original ip daddr . ct original proto-dst"
            if name == "own"
            else "ct reply ip daddr . ct reply proto-dst"
        )
        peer_address = peer.split(" . ", maxsplit=1)[0]
        for protocol, state, lifetime_s in (
            ("udp", "", b.udp_lifetime_s),
            ("tcp", "established", b.tcp_established_lifetime_s),
            ("tcp", "transitory", b.tcp_transitory_lifetime_s),
        ):
            part = "_".join(filter(None, (name, protocol, state)))
            only = f"meta l4proto {protocol}"
            back = f"meta l4proto . {external}"
            contacts = ""
            if b.filtering is Filtering.ADF:
                contacts = f"update @contacted {{ {back} . {peer_address} timeout {lifetime_s}s }}"
            elif b.filtering is Filtering.APDF and b.hairpinning is Hairpinning.EXTERNAL_SOURCE:
                contacts = f"update @contacted {{ {back} . {peer} timeout {lifetime_s}s }}"
            yield from chain(
                part,
                "",
                f"{only} update @out_{protocol} {{ {key} timeout {lifetime_s}s : {external} }}",
                f"{only} update @back {{ {back} timeout {lifetime_s}s : {source} ip saddr . {source} proto-src }}",
                f"{only} ct direction {outward} {contacts}" if contacts else "",
            )
        direction = f"ct direction {outward} " if b.udp_refresh is Refresh.OUTBOUND else ""
        rules.append(f"ct status {status} {direction}meta l4proto udp jump {name}_udp")
        for state, conditions in _tcp_states(b).items():
            rules += [f"ct status {status} meta l4proto tcp {match} jump {name}_tcp_{state}" for match in conditions]
    if b.hairpinning is Hairpinning.EXTERNAL_SOURCE and b.filtering in (Filtering.ADF, Filtering.APDF):
        # The filter of the far end of a hairpin: its mapping must have contacted the external source.
        source = "ip saddr" if b.filtering is Filtering.ADF else "ip saddr . {p} sport"
        far = "meta l4proto . ct original ip daddr . ct original proto-dst"
        lan = quoted(ports.lans)
        rules.append("ct state != new accept")
        hairpin = f"iifname {lan} oifname {lan} ct status dnat"
        rules += [f"{hairpin} meta l4proto {p} {far} . {source.format(p=p)} != @contacted drop" for p in ("udp", "tcp")]
    yield from chain("refresh", "filter hook postrouting priority 300", *rules)
    if b.udp_refresh is Refresh.OUTBOUND:
        # Inbound packets keep connection tracking's entry alive, so what has lost its mapping is stopped here.
        wan = f'iifname "{ports.wan}" meta l4proto udp'
        yield from chain(
            "expired",
            "filter hook forward priority filter - 1",
            f"{wan} ct status snat ct direction reply "
            "meta l4proto . ct reply ip daddr . ct reply proto-dst != @back drop",
            # Not what a host has asked for by a port mapping protocol: that has a lifetime of its own.
            f"{wan} ct status dnat ct direction original ct mark {BY_MAPPING} "
            "meta l4proto . ct original ip daddr . ct original proto-dst != @back drop"
            if b.filtering is not Filtering.APDF
            else "",
        )


def _tcp_states(b: NatBehaviour) -> dict[str, tuple[str, ...]]:
    """Return when a segment leaves its connection in which state: tracking has just set its timer by that.

    Flags alone do not tell: the last acknowledgement of a closed connection looks like any other.
    """
    if b.tcp_established_lifetime_s <= b.tcp_transitory_lifetime_s:
        flags = "tcp flags & (fin | rst)"
        return {
            "established": (f"ct state established {flags} == 0",),
            "transitory": ("ct state != established", f"ct state established {flags} != 0"),
        }
    longer = f"ct expiration > {b.tcp_transitory_lifetime_s}s"
    shorter = f"ct expiration <= {b.tcp_transitory_lifetime_s}s"
    return {
        "established": (f"ct state established {longer}",),
        "transitory": ("ct state != established", f"ct state established {shorter}"),
    }
