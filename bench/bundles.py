"""Does netem draw for bundles? TCP under netem, over a card that takes bundles of 64 kB and over one that takes frames.

    python -m bench.bundles [--json] [--runs N]

Published comparisons of VPNs put netem on the machine's own card. TCP hands such a card bundles of up to 64 kB and
leaves the cutting to it, so that netem, which stands before the card, loses, delays and reorders a bundle as one. Here
are two hosts on a cable with the profiles of one such comparison (docs/link.md) on what each sends, once with the
offloads of a usual card (`bundles`), once with none of them (`frames`); TCP as it is, and through the kernel's
WireGuard, which hands over frame by frame whatever the card can do. What netem's `reorder` does with and without its
correlation is counted at the receiver. Runs in Debian's kernel under QEMU (tests/netem/boot.sh), for machines without
netem and WireGuard; it takes some ten minutes, and the highest rates are the emulated processor's.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Any

PROFILES = {
    "low": "delay 2ms 2ms loss 0.25% reorder 0.5% 25%",
    "medium": "delay 4ms 7ms loss 1% reorder 2.5% 50%",
    "high": "delay 6ms 15ms loss 2.5% reorder 5% 50%",
}
REORDERS = ("0.5%", "0.5% 25%", "2.5%", "2.5% 50%", "5%", "5% 50%")
OFFLOADS = ("tso", "gso", "gro", "tx")
CABLE, TUNNEL = ("10.9.0.1", "10.9.0.2"), ("10.9.1.1", "10.9.1.2")
SECONDS, OMIT_S = 8, 2


def _run(*argv: str, given: str | None = None) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, input=given).stdout


def _in(host: str, *argv: str) -> list[str]:
    return ["ip", "netns", "exec", host, *argv]


def _hosts() -> None:
    """Make a and b, a cable between them, and WireGuard over it."""
    for host in "ab":
        _run("ip", "netns", "add", host)
    _run("ip", "link", "add", "a0", "netns", "a", "type", "veth", "peer", "name", "b0", "netns", "b")
    keys = {host: _run("wg", "genkey").strip() for host in "ab"}
    for host, other in ("ab", "ba"):
        own, far = "ab".index(host), "ab".index(other)
        _run(*_in(host, "ip", "addr", "add", f"{CABLE[own]}/24", "dev", f"{host}0"))
        _run(*_in(host, "ip", "link", "set", f"{host}0", "up"))
        _run(*_in(host, "ip", "link", "add", "wg0", "type", "wireguard"))
        _run(*_in(host, "ip", "addr", "add", f"{TUNNEL[own]}/24", "dev", "wg0"))
        peer = _run("wg", "pubkey", given=keys[other]).strip()
        setting = f"[Interface]\nPrivateKey = {keys[host]}\nListenPort = 51820\n[Peer]\nPublicKey = {peer}\n"
        setting += f"AllowedIPs = {TUNNEL[far]}/32\nEndpoint = {CABLE[far]}:51820\n"
        _run(*_in(host, "wg", "setconf", "wg0", "/dev/stdin"), given=setting)
        _run(*_in(host, "ip", "link", "set", "wg0", "up"))


def _impair(words: str) -> None:
    for host in "ab":
        subprocess.run(_in(host, "tc", "qdisc", "del", "dev", f"{host}0", "root"), capture_output=True, check=False)
        _run(*_in(host, "tc", "qdisc", "add", "dev", f"{host}0", "root", "netem", "limit", "100000", *words.split()))


def _offloads(state: str) -> None:
    for host in "ab":
        words = itertools.chain.from_iterable((one, state) for one in OFFLOADS)
        _run(*_in(host, "ethtool", "-K", f"{host}0", *words))


def _iperf(address: str, *options: str) -> dict[str, Any]:
    server = subprocess.Popen(
        _in("b", "iperf3", "-s", "-1", "--forceflush"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert server.stdout is not None
    while "listening" not in (line := server.stdout.readline()):
        if not line:
            raise RuntimeError(f"iperf3 -s ended with {server.wait()}")
    said: dict[str, Any] = json.loads(_run(*_in("a", "iperf3", "-c", address, "-J", *options)))
    server.wait()
    return said


def _mbit(address: str) -> float:
    said = _iperf(address, "-Z", "-C", "cubic", "-t", str(SECONDS), "-O", str(OMIT_S))
    return round(said["end"]["sum_received"]["bits_per_second"] / 1e6, 2)


def _out_of_order_percent(words: str) -> float:
    """Return the share of datagrams that came after a later one: 500 a second, 20 ms of delay, no jitter."""
    _impair(f"delay 20ms reorder {words}")
    said = _iperf(CABLE[1], "-u", "-b", "4M", "-l", "1000", "-t", "20")["end"]["streams"][0]["udp"]
    # A frame that skips 20 ms overtakes the ten before it: iperf3 counts those ten.
    return round(100 * said["out_of_order"] / said["packets"], 3)


def in_guest(runs: int) -> dict[str, Any]:
    """Return rates in Mbit/s by profile, card and subject, and what `reorder` does."""
    _hosts()
    rates: dict[str, Any] = {}
    for profile, words in PROFILES.items():
        _impair(words)
        for card, state in (("bundles", "on"), ("frames", "off")):
            _offloads(state)
            for subject, (_, address) in (("bare", CABLE), ("kernel WireGuard", TUNNEL)):
                found = [_mbit(address) for _ in range(runs)]
                rates.setdefault(profile, {}).setdefault(card, {})[subject] = found
                print(profile, card, subject, found, file=sys.stderr, flush=True)
    _offloads("off")
    return {"Mbit/s": rates, "reordered, %": {words: _out_of_order_percent(words) for words in REORDERS}}


def table(found: dict[str, Any]) -> str:
    """Return the rates as Markdown: medians, and their range."""
    lines = ["| profile | card takes | bare | kernel WireGuard | bare / WireGuard |", "|---|---|---|---|---|"]
    for profile, cards in found["Mbit/s"].items():
        for card, subjects in cards.items():
            middles = {name: median(values) for name, values in subjects.items()}
            cells = [f"{median(one):.1f} ({min(one):.1f} to {max(one):.1f})" for one in subjects.values()]
            ratio = middles["bare"] / middles["kernel WireGuard"]
            lines.append(f"| {profile} | {card} | {' | '.join(cells)} | {ratio:.1f} |")
    lines += ["", "| netem's `reorder` | datagrams that came out of order, % |", "|---|---|"]
    lines += [f"| {words} | {share:g} |" for words, share in found["reordered, %"].items()]
    return "\n".join(lines)


def main() -> None:
    """Boot the guest, or be in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print the single rates as JSON")
    parser.add_argument("--runs", type=int, default=3, help="of each combination (default: 3)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.inside:
        print(json.dumps(in_guest(chosen.runs)))
        return
    boot = Path(__file__).parents[1] / "tests" / "netem" / "boot.sh"
    limit = {"NETEM_LIMIT_S": str(400 + 250 * chosen.runs), **os.environ}
    words = [f"bench=bench.bundles,--inside,--runs,{chosen.runs}"]
    subprocess.run([boot, *words], stdout=sys.stderr, check=True, env=limit)
    found = json.loads((boot.parents[2] / "build" / "netem" / "out" / "bench.json").read_text())
    print(json.dumps(found) if chosen.json else table(found))


if __name__ == "__main__":
    main()
