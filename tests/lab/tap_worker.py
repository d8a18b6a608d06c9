"""Runs in a sandbox: packets that scapy makes pass a veth pair; what tap and counters saw goes to stdout as JSON."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from pyroute2 import IPRoute
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.l2 import ARP, Ether
from scapy.packet import Raw
from scapy.sendrecv import sendp
from scapy.utils import rdpcap

from harness.lab import counters
from harness.lab.tap import Tap

PACKETS = [
    Ether(dst="02:00:00:00:00:02") / IP(src="45.45.1.1", dst="45.45.2.1") / UDP(sport=1, dport=2) / Raw(b"x" * 900),
    Ether(dst="02:00:00:00:00:02") / IP(src="45.45.2.1", dst="45.45.1.1") / TCP(sport=3, dport=4, flags="S"),
    Ether(dst="02:00:00:00:00:02") / ARP(psrc="45.45.1.1", pdst="45.45.2.1"),
    Ether(dst="02:00:00:00:00:02") / IP(src="45.45.1.1", dst="45.45.2.1") / ICMP() / Raw(b"y" * 64),
]


def main() -> None:
    """Send on one end, watch the other."""
    folder = Path(sys.argv[1])
    netlink = IPRoute()
    netlink.link("add", ifname="send", kind="veth", peer="watch")
    for name in ("send", "watch"):
        Path(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6").write_text("1")
        netlink.link("set", index=netlink.link_lookup(ifname=name)[0], state="up")
    counters.install({"internet": ["watch"]})
    tap = Tap(["watch"], folder / "watch.pcap")
    sendp(PACKETS, iface="send", verbose=False)
    deadline = time.monotonic() + 5
    while len(tap.seen("watch")) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    tap.close()
    tap.close()
    seen = [[str(one.src), str(one.dst), one.ip_bytes, one.t] for one in tap.seen("watch")]
    stored = [[one[IP].src, one[IP].dst, one[IP].len, float(one.time)] for one in rdpcap(str(folder / "watch.pcap"))]
    counted = {f"{flow.src}>{flow.dst}": size for flow, size in counters.read().items()}
    print(json.dumps({"seen": seen, "stored": stored, "counted": counted}))


if __name__ == "__main__":
    main()
