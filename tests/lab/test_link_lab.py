"""Links in real namespaces: what the backends of this machine do to frames."""

from __future__ import annotations

import pytest

from tests.lab.link_lab import PREAMBLE, in_sandbox

pytestmark = [pytest.mark.lab, pytest.mark.usefixtures("scratch")]


@pytest.mark.parametrize("backend", ["userlink", "userlink-python"])
def test_the_same_seed_loses_the_same_packets_on_a_real_link(backend: str) -> None:
    code = """
lost = []
for seed in (5, 5, 6):
    with rig({"delay_ms": 2, "loss_percent": 20}, sys.argv[1], seed) as made:
        seen = stream(made, Stream(400, 500, 200))
        lost.append(sorted(set(range(400)) - {number for number, _ in seen.arrived}))
out(lost)
"""
    first, second, other = in_sandbox(PREAMBLE + code, backend)
    assert first == second != other
    # 400 draws at 20 %: 80, and 48 is four deviations away.
    assert 48 < len(first) < 112


def test_a_link_changes_while_it_runs_and_counts_what_it_did() -> None:
    code = """
with rig({"delay_ms": 5, "up": {"loss_percent": 1}}) as made:
    def rtt(delay_ms):
        return check_paths([PathToCheck("x", made.a, B_ADDRESS, (parse_link({"delay_ms": delay_ms}),))])[0]
    before = rtt(5)
    account = made.links.accounting()
    made.links.change("a-b", parse_link({"delay_ms": 40}))
    after = rtt(40)
    made.links.change("a-b", parse_link({"delay_ms": 5, "up": {"loss_percent": 100}}))
    cut = rtt(5)
    change = made.links.accounting().since(account)
    out([before.rtt_ms, after.rtt_ms, cut.answered, change.counts["a-b"]["up"].lost, change.violation()])
"""
    before_ms, after_ms, answered, lost, violation = in_sandbox(PREAMBLE + code)
    assert 10 <= before_ms < 13
    assert 80 <= after_ms < 84
    assert answered == 0
    assert lost == 9, "one echo to wake the path and eight that count"
    assert violation is None or "late" in violation


@pytest.mark.parametrize("backend", ["userlink", "userlink-python"])
def test_vlan_tags_cross(backend: str) -> None:
    code = """
import socket
from harness.sandbox.namespace import inside_network_of
with rig({"delay_ms": 1}, sys.argv[1]) as made:
    ports = []
    for pid in (made.a, made.b):
        with inside_network_of(pid):
            port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
            port.bind(("eth0", 3))
            port.setsockopt(263, 8, 1)  # PACKET_AUXDATA
            port.settimeout(2)
            ports.append(port)
    frame = bytes.fromhex("02000000000b 02000000000a") + b"%s" + b"\\x88\\xb5" + b"payload" * 9
    seen = []
    for tags in ("", "81006007", "88a80005", "88a80005 81000007"):
        # The longest frame that a node can send with such a tag; packet(7) allows 802.1Q alone four octets more.
        more = b"payload" * (205 if len(tags) <= 8 and not tags.startswith("88") else 0)
        ports[0].send(frame.replace(b"%s", bytes.fromhex(tags)) + more)
        while b"payload" not in (got := ports[1].recvmsg(2048, 256))[0]:
            pass
        beside = next(data for _, kind, data in got[1] if kind == 8)
        status = int.from_bytes(beside[:4], sys.byteorder)
        tci, tpid = (int.from_bytes(beside[at : at + 2], sys.byteorder) for at in (16, 18))
        outer = f"{tpid:04x}{tci:04x}" if status & 16 else ""
        inner = got[0][12 : got[0].index(b"\\x88\\xb5")].hex()
        seen.append([tags.replace(" ", ""), outer + inner])
    out(seen)
"""
    for sent, arrived in in_sandbox(PREAMBLE + code, backend):
        assert arrived == sent


def test_mtu_drops_what_is_longer_and_counts_it() -> None:
    code = """
with rig({"mtu_bytes": 1000, "delay_ms": 1}) as made:
    seen = [stream(made, Stream(50, 500, size)) for size in (1000, 1001)]
    out([*(len(s.arrived) for s in seen), made.links.accounting().counts["a-b"]["up"].oversize_drops])
"""
    assert in_sandbox(PREAMBLE + code) == [50, 0, 50]
