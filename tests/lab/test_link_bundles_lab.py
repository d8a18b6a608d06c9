"""Bundles of packets, which the kernel hands over as one, cross a link as the frames that they are."""

from __future__ import annotations

import pytest

from tests.lab.link_lab import PREAMBLE, in_sandbox

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("scratch")]


def test_bundles_cross_as_the_frames_that_they_are_and_every_byte_arrives() -> None:
    # Bundles from the nodes, cut; each frame lost, doubled, spoilt and overtaken alone; neighbours joined again.
    code = """
import hashlib, socket, threading
from harness.sandbox.namespace import inside_network_of
spec = {"delay_ms": 3, "jitter_ms": 0.2, "loss_percent": 0.6, "duplicate_percent": 0.6, "corrupt_percent": 0.6,
        "reorder_percent": 0.6}
data = os.urandom(1 << 20) * 12
answers = []
for family, there, everywhere in ((socket.AF_INET, B_ADDRESS, "0.0.0.0"), (socket.AF_INET6, "fd00::b", "::")):
    with rig(spec) as made:
        for pid, own, other, mac in ((made.a, "fd00::a", "fd00::b", "0b"), (made.b, "fd00::b", "fd00::a", "0a")):
            with inside_network_of(pid):
                Path("/proc/sys/net/ipv6/conf/eth0/disable_ipv6").write_text("0")
                Path("/proc/sys/net/ipv6/conf/eth0/accept_dad").write_text("0")
                run(*f"ip address add {own}/64 dev eth0 nodad".split())
                run(*f"ip neighbour add {other} lladdr 02:00:00:00:00:{mac} dev eth0 nud permanent".split())
        with inside_network_of(made.b):
            listener = socket.create_server((everywhere, 5000), family=family)
        with inside_network_of(made.a):
            sender = socket.create_connection((there, 5000))
        receiver, _ = listener.accept()
        thread = threading.Thread(target=lambda: (sender.sendall(data), sender.close()))
        thread.start()
        seen, count = hashlib.sha256(), 0
        while part := receiver.recv(1 << 20):
            seen.update(part)
            count += len(part)
        thread.join()
        up = made.links.accounting().counts["a-b"]["up"]
        same = seen.digest() == hashlib.sha256(data).digest()
        counts = [up.lost, up.corrupted, up.duplicated]
        answers.append([same, up.received, up.sent_bytes / up.sent, counts, up.ingress_drops])
out(answers)
"""
    for same, received, bytes_a_frame, counts, ingress_drops in in_sandbox(PREAMBLE + code):
        assert same
        # 12.6 MB in segments of 1428 to 1448 bytes, and none longer than a frame of 1514.
        assert received > 8_600
        assert bytes_a_frame < 1515
        # 0.6 % of 8,600 and more: 52 and more; 23 is four deviations below.
        assert min(counts) > 23
        assert ingress_drops == 0


def test_bundles_of_datagrams_are_cut_where_the_kernel_tells_of_them_and_by_the_node_elsewhere() -> None:
    code = """
import socket
spec = {"delay_ms": 2, "loss_percent": 10}
with rig(spec) as made:
    sender, receiver = made.udp_socket(made.a, A_ADDRESS), made.udp_socket(made.b, B_ADDRESS, 5000)
    receiver.settimeout(0.3)
    sender.setsockopt(17, 103, 1000)  # UDP_SEGMENT
    sent = [number.to_bytes(2, "big") * 500 for number in range(400)]
    arrived = []
    for first in range(0, 400, 40):
        sender.sendto(b"".join(sent[first : first + 40]), (B_ADDRESS, 5000))
        # Before the next ones: a socket's buffer holds 92 of them, and some users may have no larger one.
        try:
            while True:
                arrived.append(receiver.recv(65536))
        except TimeoutError:
            pass
    up = made.links.accounting().counts["a-b"]["up"]
    out([up.received, up.lost, len(arrived), sorted(arrived) == sorted(set(arrived) & set(sent))])
"""
    received, lost, arrived, genuine = in_sandbox(PREAMBLE + code)
    assert received == 400
    assert arrived == 400 - lost
    # 400 draws at 10 %: 40, and 16 is four deviations away.
    assert 16 < lost < 64
    assert genuine
