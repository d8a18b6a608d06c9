"""Would calibration notice a rule that is missing? Drops each kind of rule from the routers' rulesets in turn.

    python -m bench.nat_mutants [--changed] [--only TEXT] [--seed N] [--seconds N]

A rule's kind is its text with numbers and addresses left out. For each kind the calibration's cases whose ruleset has
such a rule are tried with it dropped, until one sees a difference. Prints a JSON line per kind, the survivors at the
end; exit 1 when there are any but those of which EXPECTED says why nothing can be seen.

What saw each kind is kept in nat_mutants.json as soon as it is known; a test holds it to the rules as they are.
`--changed` tries only the kinds of which nothing is kept: some seconds each, after a rule was added or became another.
CI runs it so, whatever has changed: where all is kept it ends at once.
So a run that was stopped, or that begins no further kind after `--seconds`, is taken up again by `--changed`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.calibration.nat_cases import Case, all_cases
from harness.calibration.nat_ground import PORTS, Ground
from harness.calibration.nat_worker import SCRATCH, try_case
from harness.nat import events
from harness.nat.ports import RouterPorts
from harness.nat.ruleset import render_ruleset
from harness.sandbox.mounts import make_private
from harness.sandbox.unshare import sandbox_argv

# So many cases of each kind see a ruleset without the rule before it counts as a survivor.
TRIES = {"behaviour": 12, "families": 6, "line": 8, "limits": 20, "port-mapping": 1, "lifetimes": 6, "nat64": 6}
# Why the rest cannot be seen, by a part of the kind.
_FAST_PATH = "lets a busy flow pass without looking anything up: costs time alone"
_FLOW = "the mapping is one flow's, which connection tracking keeps by itself"
_NAMED = (
    "the inside's own flow has named the owner already; this keeps it when that flow is over, and no case waits so long"
)
_HAIRPIN = (
    "a hairpin's far filter asks for it of a new flow between the same two endpoints alone; while there is one, "
    "tracking lets it pass by itself"
)


def _contacted_endpoint(own: str, peer: str) -> str:
    ends = " . ".join(f"ct {way} ip daddr . ct {way} proto-dst" for way in (own, peer))
    return f"update @contacted {{ meta l4proto . {ends} timeout T }}"


EXPECTED: dict[str, str] = {
    "forward: ct state untracked accept": "for the underlay's baseline, which calibration does not open",
    "allocate: ct state != new accept": _FAST_PATH,
    "allocate: meta mark set 0": "tidies up behind a rule that is seen",
    "pairs: meta mark set 0": "tidies up behind a rule that is seen",
    "same_session: meta mark set 0": "tidies up behind a rule that is seen",
    "pairs: meta l4proto udp ct status dnat update @owner": _NAMED,
    "@fresh_tcp": _FAST_PATH,
    "@fresh_udp": _FAST_PATH,
    "meta length > 200": _FAST_PATH,
    "reject with tcp reset": "an ICMP error refuses a caller as well",
    'input: iifname "r-eth0" ct state new reject': "the router's own stack refuses as well",
    "proto-src . ct original ip daddr . ct original proto-dst timeout T : ct reply ip daddr": _FLOW,
    "update @out_tcp { ct reply ip saddr . ct reply proto-src . ct reply ip daddr": _FLOW,
    "update @out_udp { ct reply ip saddr . ct reply proto-src . ct reply ip daddr": _FLOW,
    _contacted_endpoint("original", "reply"): _HAIRPIN,
    f"own_tcp_established: meta l4proto tcp ct direction original {_contacted_endpoint('reply', 'original')}": _HAIRPIN,
    "add @back": "what refreshes adds it again a moment later: closes a race of two processors",
    " return": "without it a second flow claims a second port, which no host uses",
    '"no block"': "all hosts of the calibration have a block",
    'new_tcp: counter drop comment "no free port"': "a block is exhausted by UDP alone, to save time",
}
RECORD = Path(__file__).with_name("nat_mutants.json")
_BLURS = (
    (r"timeout \d+\w+", "timeout T"),
    (r"over \d+", "over N"),
    (r"seed 0x\w+", "seed S"),
    (r"(offset|mod) \d+", r"\1 N"),
    (r"map \{.*\}", "map {..}"),
    (r"\d+\.\d+\.\d+\.\d+(/\d+)?", "A"),
    (r"\{ A(, A)* \}", "A"),
    (r"\d+-\d+", "P-P"),
    (r"expiration ([<>]=?) \d+\w+", r"expiration \1 T"),
    (r"block_\d+", "block_N"),
    (r"meta mark & 0x\w+ != 0 (.*) \| 0x\w+", r"meta mark & B != 0 \1 | B"),
)


def rules(script: str) -> Iterator[tuple[int, str]]:
    """Line number and kind of each rule of an nft script, hooks and policies left out."""
    table = chain = ""
    for number, line in enumerate(script.splitlines()):
        if found := re.match(r"table (\w+ \w+) \{", line):
            table = found[1]
        elif found := re.match(r"\tchain (\w+) \{", line):
            chain = found[1]
        elif line.startswith("\t\t") and chain and " hook " not in line:
            kind = f"{table} {chain}: {line.strip()}"
            for pattern, blurred in _BLURS:
                kind = re.sub(pattern, blurred, kind)
            yield number, kind
        elif line == "\t}":
            chain = ""


def without(script: str, kind: str) -> str:
    """Return the script with all rules of a kind dropped."""
    dropped = {number for number, one in rules(script) if one == kind}
    return "\n".join(line for number, line in enumerate(script.splitlines()) if number not in dropped) + "\n"


def cases_by_kind() -> dict[str, list[Case]]:
    """For each kind of rule the cases whose ruleset has it."""
    found: dict[str, list[Case]] = defaultdict(list)
    for case in all_cases():
        for kind in sorted(
            {
                kind
                for _, kind in rules(
                    render_ruleset(case.behaviour, replace(PORTS, line_mtu_bytes=case.line_mtu_bytes), seed=1)
                )
            }
        ):
            found[kind].append(case)
    return dict(sorted(found.items()))


def read_record() -> dict[str, str]:
    """Return, by kind of rule, the case that noticed it missing, or why nothing can."""
    return dict(json.loads(RECORD.read_text())) if RECORD.exists() else {}


def keep(record: dict[str, str], one: dict[str, Any]) -> None:
    """Note what a try found; a survivor that should not be one is asked for again."""
    kind, found = one["rule"], one["case"] or why_unseen(one["rule"])
    record.pop(kind, None)
    if found is not None:
        record[kind] = found
    RECORD.write_text(json.dumps(dict(sorted(record.items())), indent=0) + "\n")


def why_unseen(kind: str) -> str | None:
    """Return why a missing rule of a kind cannot be seen; None where it should be."""
    return next((f"not to be seen: {EXPECTED[part]}" for part in EXPECTED if part in kind), None)


def _one_tcp_lifetime(case: Case) -> bool:
    return case.behaviour.tcp_established_lifetime_s == case.behaviour.tcp_transitory_lifetime_s


def noticed_by(ground: Ground, kind: str, cases: list[Case], rng: random.Random) -> dict[str, Any]:
    """Try the cases with the rule dropped until one sees it."""

    def mutant(behaviour: Any, ports: RouterPorts, *, seed: int) -> str:
        return without(render_ruleset(behaviour, ports, seed=seed), kind)

    def look(script: Callable[..., str], case: Case, seed: int) -> Any:
        events.render_ruleset = script  # type: ignore[attr-defined]  # where routers get their script from
        seen = try_case(ground, case, seed)
        return seen["error"] or seen["differences"]

    tried = 0
    for what, most in TRIES.items():
        chosen = [case for case in cases if case.kind == what]
        # Those first that tell the TCP lifetimes apart: there are few of them.
        order = sorted(rng.sample(chosen, len(chosen)), key=_one_tcp_lifetime)
        for case in order[:most]:
            tried += 1
            case_seed = rng.randrange(2**31)
            # A busy machine may make a whole router look wrong as well; then nothing has been noticed.
            if (seen := look(mutant, case, case_seed)) and not look(render_ruleset, case, case_seed):
                return {"rule": kind, "case": case.name, "seen": seen}
    return {"rule": kind, "case": None, "tried": tried}


def _inside(shard: int, seed: int, until_s: float) -> None:
    make_private(SCRATCH)
    os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[shard % os.cpu_count()]})  # type: ignore[operator]
    ground, rng = Ground(SCRATCH), random.Random(seed)
    cases = cases_by_kind()
    for kind in json.load(sys.stdin):
        if time.monotonic() > until_s:
            break
        print(json.dumps(noticed_by(ground, kind, cases[kind], rng)), flush=True)
    ground.stop()


def main() -> None:
    """Start a sandbox per processor, or, in one, try its share."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="TEXT", help="only kinds of rules that contain this")
    parser.add_argument("--changed", action="store_true", help="only kinds of which nothing is recorded")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no further kind after so long")
    parser.add_argument("--inside", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    shards = 2 * (os.cpu_count() or 1)
    if options.inside is not None:
        _inside(options.inside, options.seed, time.monotonic() + options.seconds)
        return

    kinds = cases_by_kind()
    record = {kind: said for kind, said in read_record().items() if kind in kinds}
    chosen = [kind for kind in kinds if options.only in kind and not (options.changed and kind in record)]
    if not chosen:
        print("no kind of rule is to be tried", file=sys.stderr)
        return
    keeping = threading.Lock()

    def share(number: int) -> list[dict[str, Any]]:
        argv = [sys.executable, "-m", "bench.nat_mutants", "--inside", str(number), *sys.argv[1:]]
        with subprocess.Popen(sandbox_argv(argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdin is not None and worker.stdout is not None
            json.dump(chosen[number::shards], worker.stdin)
            worker.stdin.close()
            found = []
            for line in worker.stdout:
                print(line, end="", flush=True)
                found.append(json.loads(line))
                with keeping:
                    keep(record, found[-1])
        if worker.returncode:
            raise SystemExit(f"a worker ended with {worker.returncode}")
        return found

    with ThreadPoolExecutor(shards) as pool:
        seen = [one for part in pool.map(share, range(shards)) for one in part]
    survivors = [one["rule"] for one in seen if one["case"] is None]
    why = {kind: why_unseen(kind) for kind in survivors}
    if len(seen) < len(chosen):
        print(f"{len(chosen) - len(seen)} kinds are left; --changed goes on with them", file=sys.stderr)
    print(f"{len(seen)} kinds of rules, {len(seen) - len(survivors)} noticed when missing", file=sys.stderr)
    for kind in survivors:
        print(f"not noticed: {kind} ({why[kind] or 'and it should be'})", file=sys.stderr)
    sys.exit(None in why.values())


if __name__ == "__main__":
    main()
