"""The parties of an MPyC program, from their start in the members to their end."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import OverlayError
from harness.probes import mpyc_party
from harness.probes.contract import Surroundings, Target
from harness.probes.exits import exits
from harness.probes.gathering import members_of
from harness.probes.mpyc_log import Program, Ran, Spent, not_done, read_runs, useful_bytes
from harness.probes.readiness import why_ended, why_not_ready
from harness.probes.steady import Reading, Window, readings_text

if TYPE_CHECKING:
    from harness.lab.process import Daemon
    from harness.model.family import Address

# How long a program's parties may take to start and to connect, besides its deadline, in s.
START_S: Final = 30.0
_PORT: Final = 7414
_PARTY: Final = str(Path(mpyc_party.__file__).resolve())
_LOOK_S: Final = 0.1
_LOG_S: Final = 1.0
_CONNECTED: Final = '"connected_unix_s"'


def run_program(
    targets: Sequence[Target], program: Program, words: Sequence[str], deadline_s: float, trial: Surroundings
) -> Ran:
    """Run one program on all members, as often as its party 0 wants, or until the deadline.

    `words` are its size, the fewest and the most runs, and the precision that is wanted, as `mpyc_party` takes them.

    Raises:
        OverlayError: MPyC cannot be given the address of a member.
    """
    from harness.lab.process import Daemon  # noqa: PLC0415  # reports load this module, and no lab

    names, first = members_of(targets), targets[0]
    addresses = _addresses(targets)
    parties: dict[str, Daemon] = {}
    before: Reading | None = None
    end_s = time.monotonic() + deadline_s + START_S
    try:
        for name in names:
            hosts = [f"{'' if other == name else _host(addresses[other])}:{_PORT}" for other in names]
            addressed = [word for host in hosts for word in ("-P", host)]
            argv = [sys.executable, "-I", _PARTY, "--no-log", *addressed, program, *words]
            log = first.folder / f"{first.label}-mpyc-{program}-{name}.jsonl"
            parties[name] = Daemon(first.lab.nodes[name], argv, log=log, cwd=first.folder, env={})
        why_not = why_not_ready(parties, _CONNECTED, end_s, lambda _: not_done(deadline_s))
        if why_not is None:
            before = Reading(time.time(), 0, trial.usage(), trial.carried())
            for one in parties.values():
                one.send(signal.SIGUSR1)
            why_not = _wait(parties, end_s, not_done(deadline_s))
        if why_not is None:
            for one in parties.values():
                one.wait(_LOG_S)  # what it sent is the last that it prints
        useful = useful_bytes(one.text for one in parties.values())
        after = Reading(time.time(), useful, trial.usage(), trial.carried())
        killed = any((daemon.status or 0) < 0 for daemon in parties.values())
    finally:
        for daemon in parties.values():
            daemon.stop()
    times_s, sent = read_runs(parties[names[0]].text)
    spent = None if before is None else _spent(first, program, Window(f"{first.label} {program}", before, after))
    return Ran(program, times_s, sent, str(parties[names[0]].log), why_not, killed, spent)


def _spent(first: Target, program: Program, window: Window) -> Spent:
    evidence = first.folder / f"{first.label}-mpyc-{program}-readings.json"
    evidence.write_text(readings_text([window]))
    topology = first.lab.topology
    return Spent(window, exits(topology), topology.members, topology.server, str(evidence))


def _wait(parties: Mapping[str, Daemon], end_s: float, late: str) -> str | None:
    """Wait until all are done; else say why not. Parties that lose another wait for it for ever, and never end."""
    while time.monotonic() < end_s:
        for name, daemon in parties.items():
            if daemon.status not in (None, 0):
                return why_ended(name, daemon)
        running = [daemon for daemon in parties.values() if daemon.alive]
        if not running:
            return None
        running[0].wait(_LOOK_S)
    return late


def _addresses(targets: Sequence[Target]) -> dict[str, Address]:
    return {
        name: address
        for target in targets
        for name, address in ((target.src, target.source), (target.dst, target.destination))
    }


def _host(address: Address) -> str:
    if address.version == 6:
        raise OverlayError(f"MPyC takes HOST:PORT, in which {address} has no place")
    return str(address)
