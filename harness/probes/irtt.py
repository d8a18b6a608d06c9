"""irtt between two members of a lab: round trips over UDP, stamped at both ends by one clock for all namespaces."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from harness.errors import OverlayError
from harness.probes.measurement import Target

if TYPE_CHECKING:
    from harness.model.family import Address

_PORT = 2112
# irtt opens with these. A link in the bad state of a Gilbert-Elliott process leaves it packet by packet, however long
# we wait: three of them were all lost once in 1,100 openings over the preset `wifi`, ten once in 40,000.
_OPENING_S = (0.5, 0.5, 0.5, 0.5, 1, 1, 1, 1, 1, 2)
_OPENING = ",".join(f"{1000 * one:.0f}ms" for one in _OPENING_S)


@dataclass(frozen=True)
class Sample:
    """One probe packet; `rtt_ms` is None when it was lost. `there_ms` and `back_ms` are its one-way delays.

    `lost` is the way on which it was lost, as the server's count of what it received tells; "unknown" where it cannot.
    """

    seq: int
    sent_s: float
    rtt_ms: float | None
    there_ms: float | None = None
    back_ms: float | None = None
    lost: Literal["there", "back", "unknown"] | None = None


def sample_rtt(
    target: Target, *, duration_s: float, interval_ms: float, payload_bytes: int, kind: str = ""
) -> list[Sample]:
    """Run irtt from `src` to `dst` and keep its JSON and a CSV of the samples, their names beginning with `kind`.

    Raises:
        OverlayError: the server could not be reached.
    """
    server = target.start(target.dst, ["irtt", "server", "-b", _at(target.destination)], f"{kind}irtt-server.log")
    raw = target.evidence(f"{kind}irtt.json")
    version = target.destination.version
    raw.unlink(missing_ok=True)  # a repeated measurement must not read its predecessor's
    try:
        if not server.wait_for_line(f"starting IPv{version} listener", 5.0):
            raise OverlayError(f"irtt's server did not start on {target.dst}: {server.tail}")
        argv = [
            *("irtt", "client", "-q", f"-{version}", "-i", f"{interval_ms:g}ms", "-d", f"{duration_s * 1000:g}ms"),
            *("-l", str(payload_bytes), f"--timeouts={_OPENING}", "--wait=3x1s", "-o", str(raw)),
            _at(target.destination),
        ]
        client = target.start(target.src, argv, f"{kind}irtt.log")
        status = client.wait(duration_s + sum(_OPENING_S) + 6)
        client.stop()
        if status != 0 or not raw.exists():
            raise OverlayError(
                f"irtt from {target.src} to {target.destination} ended with {status}: {client.tail.strip()}"
            )
    finally:
        server.stop()
    samples = parse_irtt(json.loads(raw.read_text()))
    _write_csv(target.evidence(f"{kind}rtt.csv"), samples)
    return samples


def _at(address: Address) -> str:
    return f"[{address}]:{_PORT}" if address.version == 6 else f"{address}:{_PORT}"


def parse_irtt(result: dict[str, Any]) -> list[Sample]:
    """Parse irtt's JSON (format 1) into samples; its durations are nanoseconds."""
    samples = []
    for trip in result.get("round_trips") or ():
        sent_s = trip["timestamps"]["client"]["send"]["wall"] / 1e9
        delay = {} if trip["lost"] != "false" else trip["delay"]
        rtt, there, back = (_ms(delay.get(key)) for key in ("rtt", "send", "receive"))
        samples.append(Sample(trip["seqno"], sent_s, rtt, there, back, _LOST_ON.get(trip["lost"], "unknown")))
    return samples


_LOST_ON: Mapping[str, Literal["there", "back"] | None] = {"false": None, "true_up": "there", "true_down": "back"}


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6


def _write_csv(path: Path, samples: Sequence[Sample]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seq", "sent_s", "rtt_ms", "there_ms", "back_ms"])
        for one in samples:
            delays = ("" if value is None else f"{value:.6f}" for value in (one.rtt_ms, one.there_ms, one.back_ms))
            writer.writerow([one.seq, f"{one.sent_s:.9f}", *delays])
