"""What several senders got while all of them sent: when each began, and its receiver's bytes at two moments.

Rates of whole runs are no shares: a pair that begins when another has ended shares nothing with it, however equal the
two are. So what counts is what each receiver got between two readings, both of which lie where all were sending.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.probes.iperf3 import is_control_lost
from harness.probes.measurement import Pair

# Before the first sender ends, whose beginning is known with a tenth of a second's delay: no end is in the window.
MARGIN_S: Final = 0.25
_RECEIVED = re.compile(r"\bbytes_received:(\d+)")


@dataclass(frozen=True)
class Reading:
    """What a pair's receiver had got so far, in octets of TCP payload, at a moment (Unix seconds)."""

    at_s: float
    received_bytes: int


@dataclass(frozen=True)
class Sender:
    """A pair's sender: when its receiver took the connection (Unix seconds), and the two readings.

    Args:
        began_s: None: it had not begun when the half of the time was over that is left in common with the first.
        before: None: it could not connect.
        after: None: it had ended by then; without an error, it was read too late.
        error: why it is not there any more, or what it said.
        whole_bytes: what its receiver got in all, by its own report; None where that never came.
    """

    pair: Pair
    began_s: float | None
    before: Reading | None = None
    after: Reading | None = None
    error: str = ""
    whole_bytes: float | None = None

    @property
    def why_dead(self) -> str | None:
        """Why it carried no TCP to its end; None where it did, however late it began."""
        if not self.error and self.whole_bytes != 0:
            return None
        if self.after is not None and self.after.received_bytes and is_control_lost(self.error):
            return None  # on a path that loses much the tool's other connection does not come to its end
        how = "no TCP" if self.after is None or not self.whole_bytes else "TCP no longer"
        return f"carried {how} from {' to '.join(self.pair)}{self.error and f': {self.error}'}"

    @property
    def mbit(self) -> float:
        """Mbit/s between the two readings; 0 of one that could not connect or was cut off, while others sent.

        One that begins late has got nothing until then: to be kept from connecting is to be starved.
        """
        if self.before is None or self.after is None:
            return 0.0
        moved = self.after.received_bytes - self.before.received_bytes
        return 8e-6 * moved / (self.after.at_s - self.before.at_s)


@dataclass(frozen=True)
class Window:
    """When all senders should send, Unix seconds: each has begun, has had `omit_s` to start, and has not ended yet."""

    from_s: float
    to_s: float

    @classmethod
    def of(cls, began_s: Sequence[float], omit_s: float, duration_s: float) -> Window:
        """Return that of senders of one duration which began at these moments."""
        return cls(max(began_s) + omit_s, min(began_s) + omit_s + duration_s - MARGIN_S)


def latest_s(first_s: float, duration_s: float) -> float:
    """Return until when the window waits for another to begin: half of the time is then in common."""
    return first_s + duration_s / 2


def no_common_time(senders: Sequence[Sender], duration_s: float) -> str:
    """Say why these figures are no shares of anything; empty where they are."""
    for one in senders:
        if one.after is None and not one.error:
            return f"{' to '.join(one.pair)} had come to its end before it was read a second time: read too late"
    read = [(one.before, one.after) for one in senders if one.before is not None and one.after is not None]
    begin_s, end_s = (
        max((before.at_s for before, _ in read), default=0.0),
        min((after.at_s for _, after in read), default=0.0),
    )
    if read and end_s - begin_s < duration_s / 2 - 2 * MARGIN_S:
        return f"all sent at once for {max(0.0, end_s - begin_s):.1f} s alone, by the readings, of {duration_s:g} s"
    return ""


def evidence_of(senders: Sequence[Sender], why: str) -> dict[str, Any]:
    """Return the raw readings as they are kept."""
    rows = [
        {
            "src": one.pair[0],
            "dst": one.pair[1],
            "began_s": one.began_s,
            **{
                name: None if reading is None else {"at_s": reading.at_s, "received_bytes": reading.received_bytes}
                for name, reading in (("before", one.before), ("after", one.after))
            },
            "mbit": one.mbit,
            "error": one.error,
        }
        for one in senders
    ]
    return {"no_common_time": why, "pairs": rows}


def received_by_port(text: str) -> dict[int, int]:
    """Return the octets that the sockets of each local port have received, from what ss(8) prints of them."""
    found: dict[int, int] = {}
    port = 0
    for line in text.splitlines():
        if not line[:1].isspace():
            port = int(line.split()[3].rsplit(":", 1)[1])
            found.setdefault(port, 0)
        found[port] = found.get(port, 0) + sum(int(count) for count in _RECEIVED.findall(line))
    return found
