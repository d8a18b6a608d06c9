"""The IPv4 translation table of one router, as nftables text.

How it works. Two dynamic maps are the NAT: `out` (one per protocol: internal endpoint, and as much of the destination
as the mapping depends on, to external endpoint) and `back` (external endpoint to internal one). A new flow without an
entry in `out` gets a candidate external endpoint, written into the packet's own source fields as scratch space, until
one is not in `back`; then it is claimed in both maps. Only then connection tracking translates, to what `out` says.
Because the claim comes first, two packets of one internal endpoint that race on two processors still get one mapping.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.model.nat import (
    Filtering,
    Hairpinning,
    NatBehaviour,
    Pooling,
    PortAllocation,
    Unsolicited,
)
from harness.nat.ports import FIRST_PORT, PORT_COUNT, PortBlock, RouterPorts, port_blocks
from harness.nat.rules_lifetimes import lifetimes
from harness.nat.rules_sessions import one_session_per_pair, sessions_may_clash
from harness.nat.rules_words import BY_MAPPING, DESTINATION, DESTINATION_TYPE, INTERNAL, MAP_SIZE, chain, quoted

TABLE = "ip nat_v4"
# A full table is noticed after so many candidates. With a quarter of the ports in use, all fail once in 4 billion.
CANDIDATES = 16
SEQUENCE_LENGTH = 24576

_ENDPOINT = "inet_proto . ipv4_addr . inet_service"


def nat_table(behaviour: NatBehaviour, ports: RouterPorts, seed: int) -> Iterator[str]:
    """Yield the lines of `table ip nat_v4`, indented, without the table's own braces."""
    if behaviour.unsolicited is Unsolicited.POISONS:
        yield from _stock_linux(ports)
        return
    yield from _maps(behaviour, ports, seed)
    yield from _candidates(behaviour, ports, seed)
    yield from _translation(behaviour, ports, seed)
    yield from lifetimes(behaviour, ports)
    yield from one_session_per_pair(behaviour, ports, seed)


def _stock_linux(ports: RouterPorts) -> Iterator[str]:
    # No port given: connection tracking preserves it, and takes another without a word where the tuple is in use.
    lan = quoted(ports.lans)
    rule = f'iifname {lan} oifname "{ports.wan}" snat to {ports.wan_addresses[0]}'
    yield from chain("outbound", "nat hook postrouting priority srcnat", rule)


def _maps(b: NatBehaviour, ports: RouterPorts, seed: int) -> Iterator[str]:
    def dynamic(kind: str, name: str, key: str, data: str = "") -> str:
        tail = f" : {data}" if data else ""
        return f"\t{kind} {name} {{ type {key}{tail}; flags dynamic,timeout; size {MAP_SIZE}; }}"

    # One each: with the protocol in the key, APDM would need more registers than nft has.
    for protocol in ("udp", "tcp"):
        key = f"ipv4_addr . inet_service{DESTINATION_TYPE[b.mapping]}"
        yield dynamic("map", f"out_{protocol}", key, "ipv4_addr . inet_service")
        yield dynamic("set", f"fresh_{protocol}", "ipv4_addr . ipv4_addr . inet_service . inet_service")
    yield dynamic("map", "back", _ENDPOINT, "ipv4_addr . inet_service")
    if b.filtering is Filtering.ADF:
        yield dynamic("set", "contacted", f"{_ENDPOINT} . ipv4_addr")
    if b.filtering is Filtering.APDF and b.hairpinning is Hairpinning.EXTERNAL_SOURCE:
        yield dynamic("set", "contacted", f"{_ENDPOINT} . ipv4_addr . inet_service")
    if sessions_may_clash(b):
        yield dynamic("map", "owner", _ENDPOINT, "mark")
        yield dynamic("map", "session_port", "mark . ipv4_addr . inet_service", "inet_service")
        if b.pooling is Pooling.ARBITRARY:
            yield dynamic("map", "session_address", "mark . ipv4_addr . inet_service", "ipv4_addr")
    if b.port_allocation is PortAllocation.SEQUENTIAL and abs(b.port_step) > 1:
        ports_in_order = ", ".join(f"{n} : {port}" for n, port in enumerate(_sequence(b, seed)))
        yield f"\tmap sequence {{ type mark : inet_service; elements = {{ {ports_in_order} }}; }}"
    blocks = port_blocks(b, ports)
    if blocks:
        jumps = ", ".join(_jump(n, block) for n, block in enumerate(blocks))
        yield f"\tmap block {{ type ipv4_addr : verdict; elements = {{ {jumps} }}; }}"
        homes = ", ".join(_home(block) for block in blocks)
        yield f"\tmap home {{ type ipv4_addr : ipv4_addr; elements = {{ {homes} }}; }}"
    for n, block in enumerate(blocks):
        yield from _draw(n, block)


def _jump(place: int, block: PortBlock) -> str:
    return f"{block.subscriber} : jump block_{place}"


def _home(block: PortBlock) -> str:
    return f"{block.subscriber} : {block.address}"


def _draw(place: int, block: PortBlock) -> Iterator[str]:
    draw = f"meta mark set numgen random mod {block.size} offset {block.first}"
    yield from chain(f"block_{place}", "", f"ip saddr set {block.address}", draw)


def reassigned_blocks(before: Sequence[PortBlock], after: Sequence[PortBlock]) -> str:
    """Render a change of who has which block of ports, each in its place; all mappings stay."""
    lines, taken, given = [], [], []
    for place, block in enumerate(after):
        if place >= len(before):
            lines += [f"table {TABLE} {{", *_draw(place, block), "}"]
        elif before[place] == block:
            continue
        else:
            taken.append((place, before[place]))
        given.append((place, block))
    for verb, some in (("delete", taken), ("add", given)):
        for place, block in some:
            lines.append(f"{verb} element {TABLE} block {{ {_jump(place, block)} }}")
            lines.append(f"{verb} element {TABLE} home {{ {_home(block)} }}")
    return "".join(f"{line}\n" for line in lines)


def _address(b: NatBehaviour, ports: RouterPorts, seed: int) -> str:
    """Return the expression that chooses an external address for a packet whose source is still the internal one."""
    pool = ports.pool(b)
    if b.port_allocation is PortAllocation.BLOCK:
        return "ct original ip saddr map @home"
    if len(pool) == 1:
        return pool[0]
    choice = ", ".join(f"{n} : {address}" for n, address in enumerate(pool))
    if b.pooling is Pooling.ARBITRARY:
        return f"numgen random mod {len(pool)} map {{ {choice} }}"
    return f"jhash ct original ip saddr mod {len(pool)} seed {seed & 0xFFFFFFFF:#x} map {{ {choice} }}"


def _port(b: NatBehaviour, protocol: str, seed: int) -> Iterator[str]:
    """Yield the rules that write the next candidate port into a packet."""
    if b.port_allocation is PortAllocation.SEQUENTIAL and abs(b.port_step) > 1:
        yield f"meta mark set numgen inc mod {len(_sequence(b, seed))}"
        yield f"{protocol} sport set meta mark map @sequence"
        return
    if b.port_allocation is PortAllocation.BLOCK:
        yield "ct original ip saddr vmap @block"
    elif b.port_allocation is PortAllocation.SEQUENTIAL:
        sequence = _sequence(b, seed)
        # A number that grows is one that falls once all its bits are turned.
        turned = 0xFFFF if b.port_step < 0 else 0
        yield f"meta mark set numgen inc mod {len(sequence)} offset {sequence[0] ^ turned}"
        if turned:
            yield f"meta mark set meta mark ^ {turned:#x}"
    else:
        yield f"meta mark set numgen random mod {PORT_COUNT} offset {FIRST_PORT}"
    yield from _port_of_mark(protocol)


def _sequence(b: NatBehaviour, seed: int) -> range:
    first, distance = 10000 + seed % 16384, abs(b.port_step)
    rising = range(first, first + SEQUENCE_LENGTH // distance * distance, distance)
    return rising if b.port_step > 0 else rising[::-1]


def _port_of_mark(protocol: str) -> Iterator[str]:
    """Yield the rules that copy the packet mark's low 16 bits into the source port.

    nft 1.1 takes no generated number for a port, and 1.0.6 takes it and stores the wrong half. A map from
    numbers to ports works in each but has an element a port: 64,512 twice take 0.9 s to load and 75 MB, 30 times what
    the whole ruleset takes otherwise. A bit at a time takes 16 rules, which first packets alone meet (2 us each), and
    no millisecond; and it writes to the header's own field, so that the checksum follows (`@th,0,16` would leave it).
    """
    yield f"{protocol} sport set 0"
    for bit in range(16):
        yield f"meta mark & {1 << bit:#06x} != 0 {protocol} sport set {protocol} sport | {1 << bit:#06x}"


def _candidates(b: NatBehaviour, ports: RouterPorts, seed: int) -> Iterator[str]:
    key = INTERNAL + DESTINATION[b.mapping]
    for protocol, lifetime_s in (("udp", b.udp_lifetime_s), ("tcp", b.tcp_transitory_lifetime_s)):
        only = f"meta l4proto {protocol}"
        is_free = f"{only} meta l4proto . ip saddr . {protocol} sport != @back goto claim_{protocol}"
        address = f"ip saddr set {_address(b, ports, seed)}"
        yield from chain(
            f"claim_{protocol}",
            "",
            f"{only} add @out_{protocol} {{ {key} timeout {lifetime_s}s : ip saddr . {protocol} sport }}",
            f"{only} add @back {{ meta l4proto . ip saddr . {protocol} sport timeout {lifetime_s}s : "
            "ct original ip saddr . ct original proto-src }",
        )
        attempts, again = [address], []
        if b.port_allocation is PortAllocation.BLOCK:
            attempts = ['ct original ip saddr != @home counter drop comment "no block"']
        elif b.pooling is Pooling.ARBITRARY:
            attempts, again = [], [address]
        if b.port_allocation is PortAllocation.PRESERVING:
            attempts += [*again, is_free]
        # Rules of their own that all attempts share: a sequence has one counter.
        yield from chain(f"candidate_{protocol}", "", *again, *_port(b, protocol, seed))
        attempts += [f"jump candidate_{protocol}", is_free] * CANDIDATES
        yield from chain(
            f"new_{protocol}",
            "",
            f"{only} {key} @out_{protocol} return",
            *attempts,
            'counter drop comment "no free port"',
        )
    # Known flows leave at once; of a new one the first packet alone is of interest, which tracking has not confirmed.
    # Writing to a datagram without checksum would give it a wrong one (RFC 768 allows none), so none is put back.
    yield from chain("new_udp_bare", "", "jump new_udp", "udp checksum set 0")
    rules = ["ct state != new accept"]
    for where in _outward(b, ports):
        first = f"{where} ct status & (confirmed | snat) == 0"
        rules += [
            f"{first} udp checksum 0 jump new_udp_bare",
            f"{first} udp checksum != 0 jump new_udp",
            f"{first} meta l4proto tcp jump new_tcp",
        ]
    yield from chain("allocate", "filter hook postrouting priority srcnat - 1", *rules, "meta mark set 0")


def _outward(b: NatBehaviour, ports: RouterPorts) -> Iterator[str]:
    """Yield matches of the packets whose source is to be translated, in a postrouting chain."""
    lan = quoted(ports.lans)
    yield f'iifname {lan} oifname "{ports.wan}"'
    if b.hairpinning is Hairpinning.EXTERNAL_SOURCE:
        yield f"iifname {lan} oifname {lan} ct status dnat"


def _translation(b: NatBehaviour, ports: RouterPorts, seed: int) -> Iterator[str]:
    key = INTERNAL + DESTINATION[b.mapping]
    pool = ", ".join(ports.pool(b))
    rules = []
    for where in _outward(b, ports):
        rules += [
            f"{where} meta l4proto {protocol} snat ip to {key} map @out_{protocol}" for protocol in ("udp", "tcp")
        ]
    # What has no ports (ICMP): only UDP and TCP are hairpinned, and they have a mapping by now.
    rules.append(f"{next(_outward(b, ports))} snat to {_address(b, ports, seed)}")
    yield from chain("outbound", "nat hook postrouting priority srcnat", *rules)

    def to_mapping(match: str, guard: str) -> list[str]:
        return [
            f"{match} meta l4proto {p} {guard.format(p=p)}dnat ip to meta l4proto . ip daddr . {p} dport map @back"
            for p in ("udp", "tcp")
        ]

    inbound = []
    if b.filtering is not Filtering.APDF:
        guard = "meta l4proto . ip daddr . {p} dport . ip saddr @contacted " if b.filtering is Filtering.ADF else ""
        inbound += to_mapping(f'iifname "{ports.wan}" ip daddr {{ {pool} }} ct mark set {BY_MAPPING}', guard)
    if b.hairpinning is not Hairpinning.OFF:
        inbound += to_mapping(f"iifname {quoted(ports.lans)} ip daddr {{ {pool} }}", "")
    yield from chain("inbound", "nat hook prerouting priority dstnat", *inbound)
