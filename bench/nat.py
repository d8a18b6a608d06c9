"""What NAT costs, and whether a carrier's NAT stays right when it is full.

    python -m bench.nat [--json] [--rounds N]

Throughput is a ratio to plain forwarding between the same nodes in the same run, interleaved in random order. The
carrier's NAT has 1,000 subscribers with 100 UDP flows each; every answer must reach the very endpoint that asked.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from harness.calibration.nat_ground import Ground
from harness.calibration.nat_worker import SCRATCH
from harness.machine.processors import processors_awake
from harness.model.nat import Unsolicited, parse_nat
from harness.nat.events import RunningRouter
from harness.nat.ports import RouterPorts, port_blocks
from harness.nat.wire import Vantage
from harness.results.statistics import median
from harness.sandbox.mounts import make_private
from harness.sandbox.namespace import inside_network_of
from harness.sandbox.unshare import sandbox_argv

BASELINE = "none"
# The last but one is stock Linux, one `snat` rule: what the kernel itself takes.
NATS = (
    "port-restricted",
    "full-cone",
    "address-restricted",
    "symmetric",
    "home-router",
    "cgn",
    "poisoning-router",
    "firewall",
)
# A fifth of a second each. At 10 Gbit/s single rates scatter by a quarter whatever is measured, so many short pairs say
# more than few long ones.
AMOUNT = "256M"
IPERF_PORT = 5201
# The two ends on processors of their own: left to the scheduler they share one now and then, and the rate halves.
AFFINITY = ",".join(str(cpu) for cpu in sorted(os.sched_getaffinity(0))[:2])
SUBSCRIBERS, FLOWS_EACH = 1000, 100
BATCH = 150  # what a socket's default buffer surely holds


def throughput(ground: Ground, rounds: int) -> dict[str, Any]:
    """TCP from inside to outside through each router, each time against plain forwarding, in random order.

    Returns:
        For each router the rates in Mbit/s, those of plain forwarding just before or after, and the ratios' median with
        its 95 % bootstrap interval.
    """
    rng = random.Random(1)
    seen: dict[str, dict[str, Any]] = {name: {"nat_mbit": [], "forwarding_mbit": []} for name in NATS}
    for _ in range(rounds):
        for name in rng.sample(NATS, len(NATS)):
            for which in rng.sample(("nat_mbit", "forwarding_mbit"), 2):
                ground.router(parse_nat(name if which == "nat_mbit" else BASELINE), 1)
                seen[name][which].append(_iperf_mbit(ground))
    for rates in seen.values():
        pairs = zip(rates["nat_mbit"], rates["forwarding_mbit"], strict=True)
        ratio = median([nat / plain for nat, plain in pairs])
        rates["ratio_to_forwarding"] = round(ratio.value, 3)
        rates["ratio_interval_95"] = [round(ratio.low, 3), round(ratio.high, 3)]
    return seen


def together(seen: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Return the median ratio over all routers that translate by our own rules, with its 95 % interval.

    Their packets of an established flow meet the same rules, so that one estimate is worth more than each by itself.
    """
    ratios = [
        nat / plain
        for name, rates in seen.items()
        if parse_nat(name).translates and parse_nat(name).unsolicited is not Unsolicited.POISONS
        for nat, plain in zip(rates["nat_mbit"], rates["forwarding_mbit"], strict=True)
    ]
    estimate = median(ratios)
    return {name: round(getattr(estimate, name), 3) for name in ("n", "value", "low", "high")}


def _iperf_mbit(ground: Ground) -> float:
    inside, public = ground.inside[0], ground.public[0]
    server = subprocess.Popen(
        ["nsenter", "-t", str(public.pid), "-n", "iperf3", "-s", "-1", "-B", public.address], stdout=subprocess.DEVNULL
    )
    try:
        while not _listens(public.pid, IPERF_PORT):
            time.sleep(0.01)
        client = ["iperf3", "-c", public.address, "-n", AMOUNT, "-J", "--connect-timeout", "5000", "-A", AFFINITY]
        done = subprocess.run(
            ["nsenter", "-t", str(inside.pid), "-n", *client], capture_output=True, text=True, check=False
        )
        said = json.loads(done.stdout)
        if "error" in said:
            raise SystemExit(f"iperf3: {said['error']}")
        return float(said["end"]["sum_received"]["bits_per_second"]) / 1e6
    finally:
        server.kill()
        server.wait()


def _listens(pid: int, port: int) -> bool:
    with inside_network_of(pid):
        tables = [Path(f"/proc/thread-self/net/{name}").read_text() for name in ("tcp", "tcp6")]
    # Local address, remote address, state; 0A is LISTEN.
    return any(f":{port:04X} " in line and " 0A " in line for table in tables for line in table.splitlines())


def carrier(ground: Ground) -> dict[str, Any]:
    """Fill a carrier's NAT; count the flows whose translation is wrong in any way."""
    subscribers = tuple(f"10.46.{n // 250}.{n % 250 + 2}" for n in range(SUBSCRIBERS))
    addresses = tuple(f"45.45.1.{n}" for n in range(1, 9))
    behaviour = parse_nat({"alias": "cgn", "pool_size": len(addresses)})
    router_node = ground.lab.nodes["r"]
    for address in addresses[2:]:
        router_node.check_output(["ip", "address", "add", f"{address}/16", "dev", "r-eth0"])
    # Behind one more hop: 1,000 neighbours on one segment would overflow Linux's neighbour table.
    router_node.check_output(["ip", "route", "add", "10.46.0.0/16", "via", ground.inside[0].address])
    inside = ground.lab.nodes["h1"]
    batch = "".join(f"address add {address}/32 dev lo\n" for address in subscribers)
    inside.check_output(["ip", "-batch", "-"], stdin=batch)
    # No process listens on the inside ports; what comes is read raw, and complaints about it would only cost time.
    quiet = "table ip quiet { chain out { type filter hook output priority 0; meta l4proto icmp drop; }; }"
    inside.check_output(["nft", "-f", "-"], stdin=quiet)
    ports = RouterPorts("r-eth0", addresses, ("r-eth1",), ("10.46.0.0/16",), subscribers)
    began = time.monotonic()
    router = RunningRouter(router_node, behaviour, ports, 1)
    router.load()
    load_s = time.monotonic() - began
    blocks = {block.subscriber: block for block in port_blocks(behaviour, ports)}
    with _raw(ground.inside[0]) as host, ground.public[0].udp(4000) as server, ground.public[1].udp(4001) as other:
        wrong, externals, began = 0, {}, time.monotonic()
        flows = [(address, 2000 + n) for n in range(FLOWS_EACH) for address in subscribers]
        for start in range(0, len(flows), BATCH):
            chunk = flows[start : start + BATCH]
            for address, port in chunk:
                host.sendto(_datagram(address, port, ground.public[0].address, 4000), (ground.public[0].address, 0))
            for _ in chunk:
                name, external = _receive(server)
                block = blocks[name[0]]
                inside_block = block.address == external[0] and block.first <= external[1] < block.first + block.size
                wrong += external in externals or not inside_block
                externals[external] = name
        made_s = time.monotonic() - began
        # Now everybody is asked back, by a stranger: EIF lets it in, and a wrong translation shows.
        everybody = list(externals.items())
        random.Random(2).shuffle(everybody)
        for start in range(0, len(everybody), BATCH):
            chunk = everybody[start : start + BATCH]
            for external, name in chunk:
                other.sendto(repr(name).encode(), external)
            for _ in chunk:
                wrong += not _arrived_right(host)
    return {
        "subscribers": SUBSCRIBERS,
        "flows": len(flows),
        "external_addresses": len(addresses),
        "mappings": len(externals),
        "wrong_translations": wrong,
        "ruleset_load_s": round(load_s, 2),
        "new_flows_per_s": round(len(flows) / made_s),
    }


def _raw(place: Vantage) -> socket.socket:
    with inside_network_of(place.pid):
        made = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
    made.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
    made.settimeout(2)
    return made


def _datagram(source: str, port: int, destination: str, destination_port: int) -> bytes:
    """Return an IPv4 UDP datagram that carries its own source endpoint; no UDP checksum, the kernel fills in IP's."""
    payload = repr((source, port)).encode()
    addresses = socket.inet_aton(source) + socket.inet_aton(destination)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 0, 0, 64, 17, 0) + addresses
    return header + struct.pack("!HHHH", port, destination_port, 8 + len(payload), 0) + payload


def _parse(text: bytes) -> tuple[str, int]:
    address, port = text.decode().strip("()").split(", ")
    return address.strip("'"), int(port)


def _receive(server: socket.socket) -> tuple[tuple[str, int], tuple[str, int]]:
    server.settimeout(2)
    data, source = server.recvfrom(200)
    return _parse(data), source


def _arrived_right(host: socket.socket) -> bool:
    """Whether the next answer stands at the endpoint that it names."""
    data = host.recv(300)
    length = (data[0] & 0x0F) * 4
    (port,) = struct.unpack_from("!H", data, length + 2)
    return _parse(data[length + 8 :]) == (socket.inet_ntoa(data[16:20]), port)


def main() -> None:
    """Start the sandbox, or, in it, measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="all numbers, not only the summary")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if not options.inside:
        with processors_awake():
            sys.exit(subprocess.call(sandbox_argv([sys.executable, "-m", "bench.nat", "--inside", *sys.argv[1:]])))
    make_private(SCRATCH)
    os.environ["TMPDIR"] = str(SCRATCH)  # iperf3 keeps its buffers in a file there
    ground = Ground(SCRATCH)
    found: dict[str, Any] = {"throughput": throughput(ground, options.rounds), "carrier": carrier(ground)}
    found["ours_together"] = together(found["throughput"])
    if options.json:
        print(json.dumps(found))
    else:
        for name, rates in found["throughput"].items():
            rate = statistics.median(rates["nat_mbit"])
            low, high = rates["ratio_interval_95"]
            ratio = rates["ratio_to_forwarding"]
            print(f"{name:20} {rate:8.0f} Mbit/s  {ratio:.3f} of forwarding, {low:.3f} to {high:.3f}")
        print(f"our rules together: {found['ours_together']}")
        print(", ".join(f"{name} {value}" for name, value in found["carrier"].items()))
    sys.exit(bool(found["carrier"]["wrong_translations"]))


if __name__ == "__main__":
    main()
