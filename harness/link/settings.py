"""From a declared direction to the whole numbers that the helper and the specification both work with (pure)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import Final

from harness.link.quantiles import quantiles
from harness.model.link import Direction
from harness.model.link_profile import BernoulliLoss, GilbertElliottLoss, TraceLoss

# A probability is a threshold for 63 random bits, so that 0 % is never and 100 % is always, exactly.
CERTAIN: Final = 1 << 63
# The order in which the helper takes its seeds.
EFFECTS: Final = ("loss", "duplicate", "corrupt", "jitter", "reorder")


class LossKind(IntEnum):
    """Numbers of the control protocol."""

    NONE = 0
    BERNOULLI = 1
    GILBERT_ELLIOTT = 2
    TRACE = 3


class QueueKind(IntEnum):
    """Numbers of the control protocol."""

    NONE = 0
    DROPTAIL = 1
    CODEL = 2


@dataclass(frozen=True, kw_only=True)
class Settings:
    """One direction in ns, bits per second, bytes and thresholds; tables hold quantiles or traces, empty for none."""

    mtu: int = 1500
    delay: int = 0
    jitter: int = 0
    jitter_repeat: int = 0
    jitter_played: int = 0
    loss_kind: LossKind = LossKind.NONE
    loss: int = 0
    loss_repeat: int = 0
    worsen: int = 0
    recover: int = 0
    loss_in_bad: int = 0
    duplicate: int = 0
    corrupt: int = 0
    reorder: int = 0
    reorder_repeat: int = 0
    queue_kind: QueueKind = QueueKind.NONE
    rate: int = 0
    limit_bytes: int = 0
    limit_packets: int = 0
    codel_target: int = 0
    codel_interval: int = 0
    jitter_table: tuple[int, ...] = ()
    loss_table: tuple[int, ...] = ()
    rate_table: tuple[int, ...] = ()

    def words(self, number_of: Mapping[str, int]) -> str:
        """Return the settings in the control protocol's form; `number_of` gives the helper's table for each field."""
        plain = (f"{f.name}={int(getattr(self, f.name))}" for f in fields(self) if not f.name.endswith("_table"))
        tables = (f"{name}={number}" for name, number in number_of.items())
        return " ".join([*plain, *tables])

    @property
    def tables(self) -> dict[str, tuple[int, ...]]:
        """The tables that the direction uses, by field."""
        named = {name: getattr(self, name) for name in ("jitter_table", "loss_table", "rate_table")}
        return {name: table for name, table in named.items() if table}


def settings_of(direction: Direction, traces: Mapping[str, Sequence[int]]) -> Settings:
    """Return the direction in whole numbers; `traces` as from `harness.link.traces.load_direction`."""
    values: dict[str, object] = {
        "mtu": direction.mtu_bytes,
        "delay": _ns(direction.delay_ms),
        "duplicate": threshold(direction.duplicate_percent),
        "corrupt": threshold(direction.corrupt_percent),
        "reorder": threshold(direction.reorder_percent),
        "reorder_repeat": threshold(100 * direction.reorder_correlation),
    }
    jitter = direction.jitter
    if jitter is not None and jitter.kind == "trace":
        values |= {"jitter_played": 1, "jitter_table": tuple(traces["jitter.file"])}
    elif jitter is not None:
        values |= {"jitter": _ns(jitter.jitter_ms), "jitter_repeat": threshold(100 * jitter.correlation)}
        values["jitter_table"] = quantiles(jitter.kind)
    loss = direction.loss
    if isinstance(loss, BernoulliLoss):
        values |= {"loss_kind": LossKind.BERNOULLI, "loss": threshold(loss.percent)}
        values["loss_repeat"] = threshold(100 * loss.correlation)
    elif isinstance(loss, GilbertElliottLoss):
        values |= {"loss_kind": LossKind.GILBERT_ELLIOTT, "loss": threshold(loss.loss_good_percent)}
        values |= {"worsen": threshold(loss.good_to_bad_percent), "recover": threshold(loss.bad_to_good_percent)}
        values["loss_in_bad"] = threshold(loss.loss_bad_percent)
    elif isinstance(loss, TraceLoss):
        values |= {"loss_kind": LossKind.TRACE, "loss_table": tuple(traces["loss.file"])}
    queue = direction.queue
    if queue is not None:
        codel = queue.discipline == "codel"
        values |= {"queue_kind": QueueKind.CODEL if codel else QueueKind.DROPTAIL}
        values |= {"limit_bytes": queue.limit_bytes or 0, "limit_packets": queue.limit_packets or 0}
        if codel:
            values |= {"codel_target": _ns(queue.target_ms), "codel_interval": _ns(queue.interval_ms)}
        if direction.rate_mbit is not None:
            values["rate"] = max(1, round(direction.rate_mbit * 1_000_000))
        else:
            values["rate_table"] = tuple(traces["rate_file"])
    return Settings(**values)  # type: ignore[arg-type]


def stream_seeds(seed: int, link: str, way: str) -> tuple[int, ...]:
    """Return seeds of the direction's streams in the order of EFFECTS; equal seeds and names always give the same."""
    texts = (f"{seed}/{link}/{way}/{effect}" for effect in EFFECTS)
    return tuple(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") for text in texts)


def threshold(percent: float) -> int:
    """Return the probability as the helper compares it: 0 for never, 2^63 for always."""
    return round(percent / 100 * CERTAIN)


def _ns(milliseconds: float) -> int:
    return round(milliseconds * 1_000_000)
