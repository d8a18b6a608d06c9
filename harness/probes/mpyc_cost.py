"""What MPyC programs cost an overlay: bytes that leave sites for each useful one, CPU time for each run. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from harness.probes.exits import sent_per_byte
from harness.probes.mpyc_log import Ran
from harness.results.declared import Column, Metric

COSTS = "mpyc-costs"
_OURS = "this project"


def cost_metrics(program: str, what: str) -> Iterator[Metric]:
    """Yield what is measured besides of a program, which is in words `what`."""

    def metric(name: str, unit: str, definition: str, *, min_effect: float = 0.1, min_absolute: float = 0.0) -> Metric:
        return Metric(
            f"mpyc_{program}_{name}",
            unit,
            definition,
            _OURS,
            better="lower",
            in_tables=True,
            min_effect=min_effect,
            min_absolute=min_absolute,
        )

    useful = f"byte of MPyC's messages that parties sent each other for {what}"
    yield metric("server_bytes_per_byte", "B/B", f"IP bytes that the server sent per {useful}.", min_effect=0.02)
    yield metric(
        "member_bytes_per_byte", "B/B", f"IP bytes that the members' sites sent per {useful}.", min_effect=0.02
    )
    cpu = f"CPU time of the overlay's processes on {{}} for {what}: mean of the runs of the trial."
    yield metric("server_cpu_s", "s", cpu.format("the server"), min_absolute=0.05)
    yield metric("members_cpu_s", "s", cpu.format("all members"), min_absolute=0.05)


def cost_columns(program: str) -> tuple[Column, ...]:
    """Return the columns of a program in the table of costs."""
    return (
        Column(COSTS, f"{program}: server bytes/byte", f"mpyc_{program}_server_bytes_per_byte"),
        Column(COSTS, f"{program}: sites bytes/byte", f"mpyc_{program}_member_bytes_per_byte"),
        Column(COSTS, f"{program}: server CPU (s)", f"mpyc_{program}_server_cpu_s", digits=3),
        Column(COSTS, f"{program}: members CPU (s)", f"mpyc_{program}_members_cpu_s", digits=3),
    )


def costs_of(ran: Ran) -> Iterator[tuple[str, str, float]]:
    """Yield name, unit and value of what a program cost; nothing where it was ended in the middle of a run."""
    spent = ran.spent
    if spent is None or ran.why_not is not None or not ran.times_s:
        return
    for who, share in sent_per_byte(spent.window.carried.counts, spent.places, spent.window.moved_bytes):
        yield f"{who}_bytes_per_byte", "B/B", share
    before, after = spent.window.before.usage, spent.window.after.usage
    grown = {node: used.cpu_s - before[node].cpu_s for node, used in after.items() if node in before}
    members = [cpu_s for node, cpu_s in grown.items() if node in spent.members]
    if spent.server in grown:
        yield "server_cpu_s", "s", grown[spent.server] / len(ran.times_s)
    if members:
        yield "members_cpu_s", "s", sum(members) / len(ran.times_s)
