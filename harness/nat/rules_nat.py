"""The IPv4 translation table of one router, as nftables text.

How it works. Two dynamic maps are the NAT: `out` (one per protocol: internal endpoint, and as much of the destination
as the mapping depends on, to external endpoint) and `back` (external endpoint to internal one). A new flow without an
entry in `out` gets a candidate external endpoint, written into the packet's own source fields as scratch space, until
one is not in `back`; then it is claimed in both maps. Only then connection tracking translates, to what `out` says.
Because the claim comes first, two packets of one internal endpoint that race on two processors still get one mapping.
"""

from __future__ import annotations

from collections.abc import Iterator

from harness.model.nat import (
    Filtering,
    Hairpinning,
    Mapping,
    NatBehaviour,
    Pooling,
    PortAllocation,
    Refresh,
    Unsolicited,
)
from harness.nat.ports import FIRST_PORT, PORT_COUNT, RouterPorts, port_blocks

# A full table is noticed after so many candidates. With a quarter of the ports in use, all fail once in 4 billion.
CANDIDATES = 16
MAP_SIZE = 262144

SEQUENCE_LENGTH = 24576

# No acknowledgement without data is longer, whatever its options (at most 60 bytes of IP and 60 of TCP).
_BULK_BYTES = 200

# The tracking mark of flows that came in by a mapping of the table.
_BY_MAPPING = "0x1"

_ENDPOINT = "inet_proto . ipv4_addr . inet_service"
_INTERNAL = "ct original ip saddr . ct original proto-src"
_DESTINATION = {
    Mapping.EIM: "",
    Mapping.ADM: " . ct original ip daddr",
    Mapping.APDM: " . ct original ip daddr . ct original proto-dst",
}
_DESTINATION_TYPE = {Mapping.EIM: "", Mapping.ADM: " . ipv4_addr", Mapping.APDM: " . ipv4_addr . inet_service"}
# The peer of a flow that began outside; of a hairpin, as the far end sees it.
_PEER = {
    Mapping.EIM: "",
    Mapping.ADM: " . ct reply ip daddr",
    Mapping.APDM: " . ct reply ip daddr . ct reply proto-dst",
}


def nat_table(behaviour: NatBehaviour, ports: RouterPorts, seed: int) -> Iterator[str]:
    """The lines of `table ip nat_v4`, indented, without the table's own braces."""
    if behaviour.unsolicited is Unsolicited.POISONS:
        yield from _stock_linux(ports)
        return
    yield from _maps(behaviour, ports)
    yield from _candidates(behaviour, ports, seed)
    yield from _translation(behaviour, ports, seed)
    yield from _lifetimes(behaviour, ports)
    yield from _one_session_per_pair(behaviour, ports, seed)


def quoted(names: tuple[str, ...]) -> str:
    """An anonymous set of interface names."""
    return "{ " + ", ".join(f'"{name}"' for name in names) + " }"


def _chain(name: str, hook: str, *rules: str) -> Iterator[str]:
    yield f"\tchain {name} {{"
    if hook:
        yield f"\t\ttype {hook}; policy accept;"
    yield from (f"\t\t{rule}" for rule in rules if rule)
    yield "\t}"


def _stock_linux(ports: RouterPorts) -> Iterator[str]:
    # No port given: connection tracking preserves it, and takes another without a word where the tuple is in use.
    lan = quoted(ports.lans)
    rule = f'iifname {lan} oifname "{ports.wan}" snat to {ports.wan_addresses[0]}'
    yield from _chain("outbound", "nat hook postrouting priority srcnat", rule)


def _maps(b: NatBehaviour, ports: RouterPorts) -> Iterator[str]:
    def dynamic(kind: str, name: str, key: str, data: str = "") -> str:
        tail = f" : {data}" if data else ""
        return f"\t{kind} {name} {{ type {key}{tail}; flags dynamic,timeout; size {MAP_SIZE}; }}"

    # One each: with the protocol in the key, APDM would need more registers than nft has.
    for protocol in ("udp", "tcp"):
        key = f"ipv4_addr . inet_service{_DESTINATION_TYPE[b.mapping]}"
        yield dynamic("map", f"out_{protocol}", key, "ipv4_addr . inet_service")
    yield dynamic("map", "back", _ENDPOINT, "ipv4_addr . inet_service")
    if b.filtering is Filtering.ADF:
        yield dynamic("set", "contacted", f"{_ENDPOINT} . ipv4_addr")
    if b.filtering is Filtering.APDF and b.hairpinning is Hairpinning.EXTERNAL_SOURCE:
        yield dynamic("set", "contacted", f"{_ENDPOINT} . ipv4_addr . inet_service")
    if _sessions_may_clash(b):
        yield dynamic("map", "owner", _ENDPOINT, "mark")
        yield dynamic("map", "session_port", "mark . ipv4_addr . inet_service", "inet_service")
        if b.pooling is Pooling.ARBITRARY:
            yield dynamic("map", "session_address", "mark . ipv4_addr . inet_service", "ipv4_addr")
    blocks = port_blocks(b, ports)
    if blocks:
        jumps = ", ".join(f"{block.subscriber} : jump block_{n}" for n, block in enumerate(blocks))
        yield f"\tmap block {{ type ipv4_addr : verdict; elements = {{ {jumps} }}; }}"
        homes = ", ".join(f"{block.subscriber} : {block.address}" for block in blocks)
        yield f"\tmap home {{ type ipv4_addr : ipv4_addr; elements = {{ {homes} }}; }}"
    for n, block in enumerate(blocks):
        port = f"numgen random mod {block.size} offset {block.first} << 16"  # as in _port
        yield from _chain(
            f"block_{n}",
            "",
            f"ip saddr set {block.address}",
            f"meta l4proto udp udp sport set {port}",
            f"meta l4proto tcp tcp sport set {port}",
        )


def _address(b: NatBehaviour, ports: RouterPorts, seed: int) -> str:
    """The expression that chooses an external address for a packet whose source is still the internal one."""
    pool = ports.pool(b)
    if b.port_allocation is PortAllocation.BLOCK:
        return "ct original ip saddr map @home"
    if len(pool) == 1:
        return pool[0]
    choice = ", ".join(f"{n} : {address}" for n, address in enumerate(pool))
    if b.pooling is Pooling.ARBITRARY:
        return f"numgen random mod {len(pool)} map {{ {choice} }}"
    return f"jhash ct original ip saddr mod {len(pool)} seed {seed & 0xFFFFFFFF:#x} map {{ {choice} }}"


def _port(b: NatBehaviour, protocol: str, seed: int) -> str:
    # nft 1.0.6 puts all 32 bits of a generated number into network order and stores the first 16: without the shift
    # every port would be 0 (`nft --debug=netlink` shows `hton(reg 1, 4, 4)`).
    if b.port_allocation is not PortAllocation.SEQUENTIAL:
        return f"{protocol} sport set numgen random mod {PORT_COUNT} offset {FIRST_PORT} << 16"
    count = SEQUENCE_LENGTH // b.port_step
    first = 10000 + seed % 16384
    if b.port_step == 1:
        return f"{protocol} sport set numgen inc mod {count} offset {first} << 16"
    sequence = ", ".join(f"{n} : {first + n * b.port_step}" for n in range(count))
    return f"{protocol} sport set numgen inc mod {count} map {{ {sequence} }}"


def _candidates(b: NatBehaviour, ports: RouterPorts, seed: int) -> Iterator[str]:
    key = _INTERNAL + _DESTINATION[b.mapping]
    for protocol, lifetime_s in (("udp", b.udp_lifetime_s), ("tcp", b.tcp_transitory_lifetime_s)):
        only = f"meta l4proto {protocol}"
        is_free = f"{only} meta l4proto . ip saddr . {protocol} sport != @back goto claim_{protocol}"
        address = f"ip saddr set {_address(b, ports, seed)}"
        yield from _chain(
            f"claim_{protocol}",
            "",
            f"{only} add @out_{protocol} {{ {key} timeout {lifetime_s}s : ip saddr . {protocol} sport }}",
            f"{only} add @back {{ meta l4proto . ip saddr . {protocol} sport timeout {lifetime_s}s : "
            "ct original ip saddr . ct original proto-src }",
        )
        if b.port_allocation is PortAllocation.BLOCK:
            attempts = ['ct original ip saddr != @home counter drop comment "no block"']
            attempts += ["ct original ip saddr vmap @block", is_free] * CANDIDATES
        else:
            attempts = [] if b.pooling is Pooling.ARBITRARY else [address]
            again = [address] if b.pooling is Pooling.ARBITRARY else []
            if b.port_allocation is PortAllocation.PRESERVING:
                attempts += [*again, is_free]
            # One rule of its own that all attempts share: a sequence has one counter.
            yield from _chain(f"candidate_{protocol}", "", *again, _port(b, protocol, seed))
            attempts += [f"jump candidate_{protocol}", is_free] * CANDIDATES
        yield from _chain(
            f"new_{protocol}",
            "",
            f"{only} {key} @out_{protocol} return",
            *attempts,
            'counter drop comment "no free port"',
        )
    # Known flows leave at once; of a new one the first packet alone is of interest, which tracking has not confirmed.
    # Writing to a datagram without checksum would give it a wrong one (RFC 768 allows none), so none is put back.
    rules = ["ct state != new accept", "udp checksum 0 meta mark set 0x1"]
    for where in _outward(b, ports):
        first = f"{where} ct status & (confirmed | snat) == 0"
        rules += [f"{first} meta l4proto {protocol} jump new_{protocol}" for protocol in ("udp", "tcp")]
    rules += ["meta mark 0x1 udp checksum set 0", "meta mark set 0"]
    yield from _chain("allocate", "filter hook postrouting priority srcnat - 1", *rules)


def _outward(b: NatBehaviour, ports: RouterPorts) -> Iterator[str]:
    """Matches of the packets whose source is to be translated, in a postrouting chain."""
    lan = quoted(ports.lans)
    yield f'iifname {lan} oifname "{ports.wan}"'
    if b.hairpinning is Hairpinning.EXTERNAL_SOURCE:
        yield f"iifname {lan} oifname {lan} ct status dnat"


def _translation(b: NatBehaviour, ports: RouterPorts, seed: int) -> Iterator[str]:
    key = _INTERNAL + _DESTINATION[b.mapping]
    pool = ", ".join(ports.pool(b))
    rules = []
    for where in _outward(b, ports):
        rules += [
            f"{where} meta l4proto {protocol} snat ip to {key} map @out_{protocol}" for protocol in ("udp", "tcp")
        ]
        rules.append(f"{where} snat to {_address(b, ports, seed)}")
    yield from _chain("outbound", "nat hook postrouting priority srcnat", *rules)

    def to_mapping(match: str, guard: str) -> list[str]:
        return [
            f"{match} meta l4proto {p} {guard.format(p=p)}dnat ip to meta l4proto . ip daddr . {p} dport map @back"
            for p in ("udp", "tcp")
        ]

    inbound = []
    if b.filtering is not Filtering.APDF:
        guard = "meta l4proto . ip daddr . {p} dport . ip saddr @contacted " if b.filtering is Filtering.ADF else ""
        inbound += to_mapping(f'iifname "{ports.wan}" ip daddr {{ {pool} }} ct mark set {_BY_MAPPING}', guard)
    if b.hairpinning is not Hairpinning.OFF:
        inbound += to_mapping(f"iifname {quoted(ports.lans)} ip daddr {{ {pool} }}", "")
    yield from _chain("inbound", "nat hook prerouting priority dstnat", *inbound)


def _lifetimes(b: NatBehaviour, ports: RouterPorts) -> Iterator[str]:
    """Refreshing of the maps; after translation (priority 300), where connection tracking knows both sides.

    A mapping is *own* to a flow that began inside, and *given* to one that began outside (or is a hairpin's far end).
    """
    own = ("own", "snat", "original", _INTERNAL + _DESTINATION[b.mapping], "ct reply ip daddr . ct reply proto-dst")
    internal = "ct reply ip saddr . ct reply proto-src"
    given = ("given", "dnat", "reply", internal + _PEER[b.mapping], "ct original ip daddr . ct original proto-dst")
    flows = [own] if b.filtering is Filtering.APDF and b.hairpinning is Hairpinning.OFF else [own, given]
    # Bulk is acknowledged, and the acknowledgement refreshes: a router at line speed need not touch two maps a packet.
    rules = [f"meta l4proto tcp meta length > {_BULK_BYTES} ct state established tcp flags & (fin | rst) == 0 accept"]
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
            chain = "_".join(filter(None, (name, protocol, state)))
            only = f"meta l4proto {protocol}"
            back = f"meta l4proto . {external}"
            contacts = ""
            if b.filtering is Filtering.ADF:
                contacts = f"update @contacted {{ {back} . {peer_address} timeout {lifetime_s}s }}"
            elif b.filtering is Filtering.APDF and b.hairpinning is Hairpinning.EXTERNAL_SOURCE:
                contacts = f"update @contacted {{ {back} . {peer} timeout {lifetime_s}s }}"
            yield from _chain(
                chain,
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
    yield from _chain("refresh", "filter hook postrouting priority 300", *rules)
    if b.udp_refresh is Refresh.OUTBOUND:
        # Inbound packets keep connection tracking's entry alive, so what has lost its mapping is stopped here.
        wan = f'iifname "{ports.wan}" meta l4proto udp'
        yield from _chain(
            "expired",
            "filter hook forward priority filter - 1",
            f"{wan} ct status snat ct direction reply "
            "meta l4proto . ct reply ip daddr . ct reply proto-dst != @back drop",
            # Not what a host has asked for by a port mapping protocol: that has a lifetime of its own.
            f"{wan} ct status dnat ct direction original ct mark {_BY_MAPPING} "
            "meta l4proto . ct original ip daddr . ct original proto-dst != @back drop"
            if b.filtering is not Filtering.APDF
            else "",
        )


def _tcp_states(b: NatBehaviour) -> dict[str, tuple[str, ...]]:
    """When a segment leaves its connection in which state: tracking has just set its timer by that.

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


def _one_session_per_pair(b: NatBehaviour, ports: RouterPorts, seed: int) -> Iterator[str]:
    """Lets a peer reach one internal endpoint through several of its mappings.

    Connection tracking holds one entry for the pair (internal endpoint, peer), so what comes through a second mapping
    is steered, before tracking sees it, to the mapping which that entry has. The inside cannot see the difference.
    """
    if not _sessions_may_clash(b):
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
    yield from _chain("pairs", "filter hook postrouting priority 300", *remember, "meta mark set 0")
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
    yield from _chain("same_session", "filter hook prerouting priority raw", *steer)


def _sessions_may_clash(b: NatBehaviour) -> bool:
    """Whether a peer may reach one internal endpoint through two of its mappings, from one source."""
    if b.mapping is Mapping.EIM:
        return False
    return b.filtering is not Filtering.APDF or b.hairpinning is Hairpinning.INTERNAL_SOURCE


def _where_sessions_clash(b: NatBehaviour, ports: RouterPorts) -> Iterator[str]:
    """Matches of the packets that may have to be steered, on their way in."""
    if b.filtering is not Filtering.APDF:
        guard = " meta l4proto . ip daddr . udp dport . ip saddr @contacted" if b.filtering is Filtering.ADF else ""
        yield f'iifname "{ports.wan}" meta l4proto udp{guard}'
    # With APDM a hairpin's external source is another for each mapping that it goes to, so nothing clashes.
    if b.hairpinning is Hairpinning.INTERNAL_SOURCE or (
        b.hairpinning is Hairpinning.EXTERNAL_SOURCE and b.mapping is Mapping.ADM
    ):
        yield f"iifname {quoted(ports.lans)} ip daddr {{ {', '.join(ports.pool(b))} }} meta l4proto udp"
