"""A calibration's worker: one lab in one sandbox, in which case after case is tried; JSON lines in and out."""

from __future__ import annotations

import json
import os
import random
import sys
import time
from pathlib import Path

from harness.calibration.nat_cases import Case
from harness.calibration.nat_ground import GATEWAY, Ground
from harness.errors import OverlaybenchError
from harness.model.nat import NatBehaviour
from harness.nat.check_nat64 import observe_nat64
from harness.nat.discovery_portmap import port_mapping_test
from harness.nat.observation import Observation, differences
from harness.nat.observe import observe_behaviour, observe_families, observe_lifetimes, observe_limits, observe_line
from harness.nat.wire import Wire
from harness.sandbox.mounts import make_private
from harness.sandbox.program import ending_in_one_line
from harness.sandbox.unshare import run_as_init_check

# A tmpfs of the sandbox's own after `make_private`: nothing is left on the machine, however the worker ends.
SCRATCH = Path("/run")


def try_case(ground: Ground, case: Case, seed: int) -> dict[str, object]:
    """Make the router behave as the case says, look, compare. An error is a result as well."""
    began = time.monotonic()
    seen = Observation()
    wrong: tuple[str, ...] = ()
    error = None
    try:
        router = ground.router(case.behaviour, seed, case.line_mtu_bytes)
        try:
            with Wire() as wire:
                seen = _look(ground, wire, case, random.Random(seed))
        finally:
            router.stop_daemons()
        wrong = differences(case.behaviour, seen)
    except (OverlaybenchError, ValueError) as failure:
        error = str(failure)
    return {
        "observed": seen.as_dict(),
        "differences": list(wrong),
        "error": error,
        "duration_s": round(time.monotonic() - began, 3),
    }


def _look(ground: Ground, wire: Wire, case: Case, rng: random.Random) -> Observation:
    match case.kind:
        case "behaviour":
            seen = observe_behaviour(ground.setup(wire), rng)
        case "lifetimes":
            seen = observe_lifetimes(ground.setup(wire), case.behaviour)
        case "limits":
            seen = observe_limits(ground.setup(wire), ground.setup6(wire), case.behaviour)
        case "families":
            seen = observe_families(ground.setup(wire), ground.setup6(wire, case.behaviour.nptv6))
        case "line":
            seen = observe_line(ground.setup(wire), ground.setup6(wire), case.behaviour)
        case "nat64":
            seen = observe_nat64(ground.setup64(wire))
        case "port-mapping":
            seen = Observation(port_mapping=port_mapping_test(ground.setup(wire), GATEWAY))
    return seen


def main() -> None:
    """Serve cases until stdin ends."""
    run_as_init_check()
    # All packets of one processor keep their order, on which the tests' conclusions rest.
    os.sched_setaffinity(0, {random.Random(int(sys.argv[1])).choice(sorted(os.sched_getaffinity(0)))})
    make_private(SCRATCH)
    ground = Ground(SCRATCH)
    for line in sys.stdin:
        order = json.loads(line)
        case = Case(order["name"], order["kind"], NatBehaviour.model_validate(order["behaviour"]))
        print(json.dumps(try_case(ground, case, order["seed"])), flush=True)
    ground.stop()


if __name__ == "__main__":
    with ending_in_one_line():
        main()
