"""Everybody on a segment is known to everybody else there, in both IP versions, as the kernel wants it said."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

from pyroute2.netlink.rtnl.ndmsg import ndmsg

from harness.lab.addresses import neighbour_sysctls
from harness.lab.neighbours import Attached, Neighbour, deletion, difference, message, neighbours_of
from harness.lab.node import sysctl_path

MAC = bytes.fromhex("020000000001")


def test_neighbours_are_those_of_the_same_segment_and_never_oneself() -> None:
    def attached(node: str, index: int, *addresses: str) -> Attached:
        return Attached(node, index, bytes([2, 0, 0, 0, 0, index]), [ip_address(one) for one in addresses])

    known = neighbours_of(
        [
            [attached("a", 2, "192.168.1.2", "2a0e::2"), attached("ra", 3, "192.168.1.1", "2a0e::1")],
            [
                attached("ra", 4, "45.45.1.1"),
                attached("s", 5, "45.45.0.10"),
                attached("t", 6, "45.45.0.9"),
            ],
        ]
    )
    said = {
        name: {(one.interface, str(one.address), one.mac[-1]) for one in entries} for name, entries in known.items()
    }
    assert said["a"] == {(2, "192.168.1.1", 3), (2, "2a0e::1", 3)}
    assert said["ra"] == {(3, "192.168.1.2", 2), (3, "2a0e::2", 2), (4, "45.45.0.10", 5), (4, "45.45.0.9", 6)}
    assert said["s"] == {(5, "45.45.1.1", 4), (5, "45.45.0.9", 6)}


def test_a_dot_in_an_interfaces_name_parts_nothing() -> None:
    (first, *_) = neighbour_sysctls(["h.1-eth0"], ipv6=False)
    assert first == "net.ipv4.neigh.h/1-eth0.retrans_time_ms", "as sysctl(8) has it"
    assert sysctl_path(first) == Path("/proc/sys/net/ipv4/neigh/h.1-eth0/retrans_time_ms")


def test_messages_are_what_rtnetlink_reads() -> None:
    for address, family in (("45.45.0.10", 2), ("2a0e:45::10", 10)):
        raw = message(Neighbour(7, ip_address(address), MAC), last=True)
        read = ndmsg(raw)
        read.decode()
        assert (read["family"], read["ifindex"], read["state"]) == (family, 7, 0x80)
        assert (read.get_attr("NDA_DST"), read.get_attr("NDA_LLADDR")) == (address, "02:00:00:00:00:01")
        assert read["header"]["length"] == len(raw)
        assert read["header"]["flags"] == 0x505
    assert ndmsg(message(Neighbour(7, ip_address("1.1.1.1"), MAC), last=False)).data[6] == 0x01
    read = ndmsg(deletion(Neighbour(7, ip_address("1.1.1.1"), MAC)))
    read.decode()
    assert (read["header"]["type"], read["header"]["flags"]) == (29, 0x05)
    assert (read["ifindex"], read.get_attr("NDA_DST")) == (7, "1.1.1.1")


def test_what_an_address_was_left_by_goes_and_what_another_has_taken_is_written() -> None:
    kept, left, taken = (Neighbour(7, ip_address(f"45.45.0.{number}"), MAC) for number in (1, 2, 3))
    another = Neighbour(7, taken.address, bytes.fromhex("020000000002"))
    assert difference([kept, left, taken], [kept, another]) == ([left], [another])
    assert difference([], [kept]) == ([], [kept]) and difference([kept], []) == ([kept], [])
