"""What a link may be: delay, jitter, loss, rate with its queue and the rest, for each direction apart (pure data).

`up` is the direction from the node towards the network, `down` the one from the network towards the node. Delays are
one way. A rate counts the bits of whole Ethernet frames without preamble and check sequence, as Linux' `tc` does.

A profile is written in a scenario as a preset's name, or as a mapping:

    {delay_ms: 10, rate_mbit: 50, queue_ms: 100}                 the same both ways
    {delay_ms: 10, up: {loss_percent: 1}, down: {jitter_ms: 2}}  what the directions have in common stands outside
    {preset: wifi, delay_ms: 20}                                 a preset with something changed

Short forms inside a direction: `loss_percent: 1` is Bernoulli loss, `jitter_ms: 2` is normal jitter, `queue_ms`,
`queue_bytes` and `queue_packets` are a drop-tail queue (`queue_ms` at the direction's `rate_mbit`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

# Ethernet header; a frame is this much longer than the packet that the MTU speaks of.
ETHERNET_HEADER_BYTES: Final = 14
# One opportunity of a Mahimahi rate trace carries one packet of this size.
TRACE_PACKET_BYTES: Final = 1500

Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
# Longer than any terrestrial or geostationary path; more is a slip of the unit.
DelayMs = Annotated[float, Field(ge=0, le=60_000, allow_inf_nan=False)]
Correlation = Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class Jitter(_Model):
    """A random addition to the delay, drawn for each frame, zero on average.

    `jitter_ms` is the half-width for `uniform` and the standard deviation for `normal` and for `pareto` (shape 3, as
    in netem's table); the two latter are cut at four standard deviations. `correlation` is the autocorrelation at lag
    1: with this probability a frame takes the value of the frame before it (the DAR(1) process of Jacobs and Lewis,
    1978), which leaves the distribution itself as declared. `trace` plays a file of offsets in ms, one a line, a line
    a frame, from the start again at its end.
    """

    kind: Literal["uniform", "normal", "pareto", "trace"] = "normal"
    jitter_ms: DelayMs = 0
    correlation: Correlation = 0
    file: str | None = None

    @model_validator(mode="after")
    def _fields_fit_kind(self) -> Self:
        if self.kind == "trace":
            if self.file is None:
                raise ValueError("trace jitter needs `file`")
            if self.jitter_ms or self.correlation:
                raise ValueError("trace jitter takes its values from `file`: no jitter_ms, no correlation")
        else:
            if self.file is not None:
                raise ValueError(f"`file` belongs to kind trace, not to {self.kind}")
            if self.jitter_ms == 0:
                raise ValueError("jitter_ms is missing or 0; leave `jitter` out where there is none")
        return self


class BernoulliLoss(_Model):
    """Every frame is lost with the same probability; `correlation` as for jitter (bursts, the same share)."""

    kind: Literal["bernoulli"] = "bernoulli"
    percent: Percent
    correlation: Correlation = 0


class GilbertElliottLoss(_Model):
    """The two-state chain of Gilbert (1960) and Elliott (1963), stepped once a frame before the frame's fate is drawn.

    `good_to_bad_percent` and `bad_to_good_percent` are netem's p and r, `loss_bad_percent` its 1-h,
    `loss_good_percent` its 1-k. The chain starts in the good state.
    """

    kind: Literal["gilbert-elliott"]
    good_to_bad_percent: Percent
    bad_to_good_percent: Percent
    loss_bad_percent: Percent = 100
    loss_good_percent: Percent = 0

    @model_validator(mode="after")
    def _chain_moves(self) -> Self:
        if self.good_to_bad_percent + self.bad_to_good_percent == 0:
            raise ValueError("good_to_bad_percent and bad_to_good_percent are both 0: the chain never moves")
        return self


class TraceLoss(_Model):
    """Loss by a file of the characters 0 (delivered) and 1 (lost), one a frame, from the start again at its end."""

    kind: Literal["trace"]
    file: str


Loss = Annotated[BernoulliLoss | GilbertElliottLoss | TraceLoss, Field(discriminator="kind")]


class Queue(_Model):
    """The queue in front of a rate, apart from the delay line; the limit counts the frame in service too.

    `codel` is RFC 8289 with its `target_ms` and `interval_ms`; the limit stays as its last resort.
    """

    discipline: Literal["droptail", "codel"] = "droptail"
    limit_bytes: int | None = Field(default=None, ge=1)
    limit_packets: int | None = Field(default=None, ge=1)
    target_ms: float = Field(default=5, gt=0, le=10_000)
    interval_ms: float = Field(default=100, gt=0, le=10_000)

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if (self.limit_bytes is None) == (self.limit_packets is None):
            raise ValueError("a queue has one limit: either limit_bytes or limit_packets")
        # By value, not by presence: a profile that was written out in full must read back.
        if self.discipline != "codel" and (self.target_ms, self.interval_ms) != (5, 100):
            raise ValueError("target_ms and interval_ms belong to discipline codel")
        return self


def expand_short_forms(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a direction's mapping with its short forms written out.

    Raises ValueError where a short form contradicts a long one or lacks what it is relative to.
    """
    out = dict(data)
    if "loss_percent" in out:
        if "loss" in out:
            raise ValueError("either loss_percent or loss, not both")
        percent = out.pop("loss_percent")
        out["loss"] = None if percent == 0 else {"kind": "bernoulli", "percent": percent}
    elif isinstance(out.get("loss"), Mapping) and "kind" not in out["loss"]:
        out["loss"] = {"kind": "bernoulli", **out["loss"]}
    if "jitter_ms" in out:
        if "jitter" in out:
            raise ValueError("either jitter_ms or jitter, not both")
        width = out.pop("jitter_ms")
        out["jitter"] = None if width == 0 else {"kind": "normal", "jitter_ms": width}
    limits = [key for key in ("queue_ms", "queue_bytes", "queue_packets") if key in out]
    if len(limits) + ("queue" in out) > 1:
        raise ValueError(f"one queue at most, got {', '.join([*limits, *(['queue'] if 'queue' in out else [])])}")
    for key in limits:
        value = out.pop(key)
        out["queue"] = {"limit_" + key.removeprefix("queue_"): value}
        if key == "queue_ms":
            rate = out.get("rate_mbit")
            if not isinstance(rate, int | float) or not isinstance(value, int | float) or value <= 0:
                raise ValueError("queue_ms is a number above 0 and needs a rate_mbit to be counted in bytes")
            # A full frame must fit even where the rate is so low that the time for one is longer than the queue.
            out["queue"] = {"limit_bytes": max(round(rate * value * 125), TRACE_PACKET_BYTES + ETHERNET_HEADER_BYTES)}
    return out


class Direction(_Model):
    """One direction of a link.

    The order of effects: MTU, loss, duplication, corruption, queue and rate, then delay and jitter. Frames stay in
    order whatever the jitter; `reorder_percent` above 0 lifts that: this share of the frames skips delay and jitter,
    and jitter may then reorder the others too; with `reorder_correlation` it comes in runs (the DAR(1) process, as for
    jitter), and the share stays. Corruption flips one bit behind the Ethernet header. `rate_file` is a
    Mahimahi trace (one opportunity of 1500 bytes a line, its time in ms) and takes the place of `rate_mbit`.
    """

    delay_ms: DelayMs = 0
    jitter: Jitter | None = None
    loss: Loss | None = None
    duplicate_percent: Percent = 0
    reorder_percent: Percent = 0
    reorder_correlation: Correlation = 0
    corrupt_percent: Percent = 0
    rate_mbit: float | None = Field(default=None, gt=0, le=100_000, allow_inf_nan=False)
    rate_file: str | None = None
    queue: Queue | None = None
    mtu_bytes: int = Field(default=1500, ge=576, le=1500)

    @model_validator(mode="before")
    @classmethod
    def _expand_short_forms(cls, data: Any) -> Any:
        return expand_short_forms(data) if isinstance(data, Mapping) else data

    @model_validator(mode="after")
    def _parts_fit(self) -> Self:
        if self.rate_mbit is not None and self.rate_file is not None:
            raise ValueError("either rate_mbit or rate_file, not both")
        if self.limited and self.queue is None:
            raise ValueError(
                "a rate needs its queue: add queue_ms, queue_bytes, queue_packets or queue (say `queue_ms: 100`)"
            )
        if self.queue is not None and not self.limited:
            raise ValueError("a queue needs its rate: add rate_mbit or rate_file")
        if self.reorder_percent and not self.delay_ms:
            raise ValueError("reorder_percent needs a delay_ms: frames that skip no delay overtake no other")
        if self.reorder_correlation and not self.reorder_percent:
            raise ValueError("reorder_correlation needs a reorder_percent: there is nothing to come in runs")
        return self

    @property
    def limited(self) -> bool:
        """Whether the direction has a rate at all."""
        return self.rate_mbit is not None or self.rate_file is not None

    @property
    def impaired(self) -> bool:
        """Whether anything at all happens to a frame of 1500 bytes and less."""
        return self != Direction()

    @property
    def files(self) -> tuple[tuple[str, str], ...]:
        """Trace files that the direction needs: (field, path) pairs."""
        named = (
            ("jitter.file", self.jitter.file if self.jitter is not None else None),
            ("loss.file", self.loss.file if isinstance(self.loss, TraceLoss) else None),
            ("rate_file", self.rate_file),
        )
        return tuple((field, path) for field, path in named if path is not None)

    def describe(self) -> str:
        """Return a short stable text such as `10ms+-2ms 1%loss 50mbit`; `ideal` where nothing happens."""
        words: list[str] = []
        if self.delay_ms or self.jitter is not None:
            jitter = "" if self.jitter is None else f"~{self.jitter.file or f'{self.jitter.jitter_ms:g}ms'}"
            words.append(f"{self.delay_ms:g}ms{jitter}")
        if isinstance(self.loss, BernoulliLoss):
            words.append(f"loss{self.loss.percent:g}%")
        elif isinstance(self.loss, GilbertElliottLoss):
            words.append(f"ge{self.loss.good_to_bad_percent:g}/{self.loss.bad_to_good_percent:g}%")
        elif self.loss is not None:
            words.append(f"loss:{self.loss.file}")
        for text, share in (
            ("dup", self.duplicate_percent),
            ("reorder", self.reorder_percent),
            ("corrupt", self.corrupt_percent),
        ):
            if share:
                words.append(f"{text}{share:g}%")
        if self.limited:
            words.append(f"{self.rate_mbit:g}mbit" if self.rate_mbit is not None else f"rate:{self.rate_file}")
        if self.mtu_bytes != 1500:
            words.append(f"mtu{self.mtu_bytes}")
        return "-".join(words) or "ideal"


class LinkProfile(_Model):
    """A link, both directions. `name` is only what the link is called in tables; equal links may have other names."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$", max_length=60)
    up: Direction = Direction()
    down: Direction = Direction()

    @property
    def label(self) -> str:
        """Short stable text for tables and file names of records."""
        if self.name is not None:
            return self.name
        if self.up == self.down:
            return self.up.describe()
        return f"up:{self.up.describe()},down:{self.down.describe()}"

    @property
    def ways(self) -> tuple[Direction, Direction]:
        """Both directions: up, down."""
        return (self.up, self.down)

    @property
    def impaired(self) -> bool:
        """False for an ideal link: no backend belongs in its path."""
        return self.up.impaired or self.down.impaired

    @property
    def base_rtt_ms(self) -> float:
        """Round-trip time in ms of an empty link, without jitter and serialisation."""
        return self.up.delay_ms + self.down.delay_ms
